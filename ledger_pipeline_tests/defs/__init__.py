"""Dagster's side: partitions, assets, runs."""
