"""The operators' face: the `sluice` command on `shared.operations`, and the ends of a local cloud."""
