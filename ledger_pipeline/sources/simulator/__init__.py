"""GitHub's API over real HTTP, for tests and the demo: paging, ordering, errors, rate limits and faults."""
