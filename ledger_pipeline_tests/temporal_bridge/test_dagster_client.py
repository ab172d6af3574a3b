"""What Dagster answers to a launch: trouble of its own is worth another try, a refusal is not."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.temporal_bridge.collection.dagster_client import DagsterClient
from ledger_pipeline_tests.sources.github.canned import canned, serving


@contextmanager
def dagster_answering(launch: Mapping[str, object]) -> Iterator[DagsterClient]:
    """A client of a server that gives this answer to every launch."""

    body = json.dumps({"data": {"launchPipelineExecution": launch}}).encode()
    with serving(lambda: canned(200, [("Content-Type", "application/json")], body)) as url:
        yield DagsterClient(url, location="ours")


UNREACHABLE = (
    "dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach user code server.\n\nStack Trace:\n"
)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"__typename": "PythonError", "message": UNREACHABLE}, "DagsterUserCodeUnreachableError: Could not reach"),
        ({"__typename": "PipelineNotFoundError", "message": "no job"}, "has not loaded the code location ours"),
    ],
    ids=["the code server is away", "the code location is being loaded"],
)
def test_a_launch_that_met_trouble_in_dagster_is_worth_another_try(answer: Mapping[str, object], problem: str) -> None:
    with dagster_answering(answer) as dagster, pytest.raises(DagsterUnavailable, match=problem) as caught:
        dagster.launch({})
    assert "Stack Trace" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"__typename": "ConflictingExecutionParamsError", "message": "one or the other"}, "one or the other"),
        ({"__typename": "UnauthorizedError"}, "gives no reason"),
    ],
    ids=["a refusal", "a refusal that says nothing"],
)
def test_a_launch_that_dagster_refuses_is_not(answer: Mapping[str, object], problem: str) -> None:
    with dagster_answering(answer) as dagster, pytest.raises(DagsterError, match=problem) as caught:
        dagster.launch({})
    assert not isinstance(caught.value, DagsterUnavailable)


def test_an_answer_that_nests_without_end_is_no_answer() -> None:
    body = b'{"data":' * 100_000
    with serving(lambda: canned(200, [("Content-Type", "application/json")], body)) as url:
        dagster = DagsterClient(url, location="ours")
        with pytest.raises(DagsterUnavailable, match=r"\(DAGSTER_URL\) does not answer: TransportProtocolError$"):
            dagster.launch({})
