"""`python -m benchmarks` (`make bench`): how fast Sluice takes events, beside the same storage's own inserts.

`load` makes events and delivers them, `accept`, `storm` and `cold` are the measurements, `counting` counts storage
operations between the host and Azurite.  docs/benchmarks.md has the last table and says how to read it.
"""
