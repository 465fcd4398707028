"""`python -m benchmarks` (`make bench`): how fast Sluice is, beside the storage's own inserts and other engines.

A part measures one thing and answers a `report.Part`: `accept`, `end_to_end`, `idle`, `storm`, `instances`, `cost`,
`cold`, `matching` and `grown`.  They run on a `stage`: a store with Functions hosts (`ground`), the `stub` that is
everybody's backend, and the `systems` side by side.  `load` makes events and delivers them over a `connection`,
`inserts` are the raw measure, `counting` counts storage operations, `seed` makes a store that has lived.  `goals`
judges; `README.md` is the last run.  `intake_adapters` compares two checkouts and
`growth` asks the id index alone, both apart from all this.
"""
