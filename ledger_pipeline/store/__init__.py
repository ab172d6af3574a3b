"""The ledger's storage: the port the pipeline speaks to, and its Postgres implementation."""
