"""The ledger: rows of runs, machines and events, and caches that can be rebuilt. The truth is outside (DESIGN, rule 2)."""
