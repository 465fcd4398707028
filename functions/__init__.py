"""How Azure calls us: each module translates one kind of trigger and decides nothing."""
