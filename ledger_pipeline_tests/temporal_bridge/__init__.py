"""Tests of the Temporal bridge, on a real server."""
