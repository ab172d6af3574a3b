"""The activities on the ledger itself, which take and give plain JSON."""
