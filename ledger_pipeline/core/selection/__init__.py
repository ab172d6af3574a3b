"""Selection policies: which events count for pay, and why, decided from pinned facts and the spec alone."""
