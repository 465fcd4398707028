"""A deterministic simulation of the whole control plane.  See `docs/simulation.md`."""
