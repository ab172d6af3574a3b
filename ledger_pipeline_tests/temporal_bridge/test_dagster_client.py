"""What Dagster answers to a launch: trouble of its own is worth another try, a refusal is not."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ledger_pipeline.core.errors import DagsterError, DagsterUnavailable
from ledger_pipeline.temporal_bridge.dagster_client import DagsterClient


@contextmanager
def dagster_answering(launch: Mapping[str, object]) -> Iterator[DagsterClient]:
    """A client of a server that gives this answer to every launch."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"data": {"launchPipelineExecution": launch}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield DagsterClient(f"http://127.0.0.1:{server.server_port}", location="ours")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
