"""Tests of what people ask over HTTP."""
