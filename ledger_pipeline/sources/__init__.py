"""Adapters in: what brings activity to the pipeline, each source in a folder of its own."""
