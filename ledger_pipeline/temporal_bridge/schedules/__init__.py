"""Temporal schedules, brought to what the repo-spec wants."""
