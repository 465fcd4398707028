"""Proof by violence: a local cloud at work, its Functions hosts killed, its storage stopped, its backends lying.

`python -m chaos` (`make chaos`) makes the trouble, waits for quiet, and compares what the backends recorded with the
journal.  `town` is the cloud and its troubles, `hosts` the processes that are killed, `evidence` what is read
afterwards, `verdict` the comparison.  docs/chaos.md says what it proves and what it does not.
"""
