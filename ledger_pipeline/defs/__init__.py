"""Dagster only: partitions, resources, assets, jobs. Everything they do is told in `pipeline`."""
