"""The ledger's storage: its records, and the verbs that read and write them in Postgres."""
