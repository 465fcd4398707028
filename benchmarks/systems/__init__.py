"""What is measured side by side: Sluice, and the durable-execution engines that one could build the same thing with.

`system` says what each can be asked, `environment` installs a peer into a folder of its own under
`.local/benchmarks/peers/`, `inside` holds the programs that run in there.
"""
