"""The kinds of work: each a module with the same outline, `faults`, `start`, `observe`, `cancel`."""
