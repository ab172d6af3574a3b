"""The stack is dear: all tests that share it run in one process, also where `make test` spreads tests over two."""

import os

import pytest

from ledger_pipeline_tests.temporal_bridge.stack import Stack


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_a_test_on_the_stack_belongs_to_its_group(request: pytest.FixtureRequest, stack: Stack) -> None:
    assert request.node.nodeid.endswith("@stack")
