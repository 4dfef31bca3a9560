"""The ledger: runs, machines, events, and caches that can be rebuilt. The truth is outside (rule 2)."""
