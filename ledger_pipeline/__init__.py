"""A DAO's GitHub activity, collected into an append-only ledger one epoch and scope at a time."""
