"""Temporal only: workflow, activities, worker, schedules. Dagster is asked over its API, never imported."""
