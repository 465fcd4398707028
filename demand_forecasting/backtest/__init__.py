"""The workload's training code on past weeks: what it would have forecast, and how that compares with others.

`rolling` trains and forecasts in the training environment, `contest` scores by the rules of the Battle of Water Demand
Forecasting.  `published_scores.csv` holds the scores of its 31 published forecasts, one row per place, week and area,
reckoned from the hourly forecasts that the teams published: Alvisi et al. 2025, ASCE J. Water Resour. Plann. Manage.
151(10), doi 10.1061/JWRMD5.WRENG-6887, data CC BY 4.0.
"""
