"""Tests of what lets anybody check an epoch."""
