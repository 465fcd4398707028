"""The workload: hourly water demand of ten district metered areas, curated, forecast a week ahead, and served.

Reading order: `data` (what the world supplies), `landing` (how it arrives in the lake), `databricks/curate.py` (bronze
to silver to gold), `azureml/src` (features, train, evaluate, register, image), `scoring/score.py` (the service), and
`publish` (how all of it gets into Azure).  It knows nothing of the control plane that drives it.
"""
