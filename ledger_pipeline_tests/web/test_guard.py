"""What stands between Dagster's UI and everybody else, asked over real HTTP: each attack fails, each use works."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import requests
import uvicorn
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from pydantic import SecretStr
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from ledger_pipeline.core.errors import DagsterError, SettingsError
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client
from ledger_pipeline.web.guard import Admission, guarded
from ledger_pipeline_tests.waiting import eventually

PUBLIC = "dagster.example"
HOSTS = f" {PUBLIC.title()}, webserver, proxied.example:8443, [2001:db8::1] "
LOGIN = SecretStr("ada:a secret: with a colon")
JSON = {"Content-Type": "application/json"}
STRANGER = "https://stranger.example"
# Under names that are ours.
OTHER_APPLICATIONS = (
    f"http://{PUBLIC}:8080",
    f"https://{PUBLIC}:80",
    f"https://{PUBLIC}.",
    f"https://x@{PUBLIC}",
    f"ftp://{PUBLIC}",
    "http://localhost:8080",
    "https://proxied.example",
    "http://[::1]:8080",
)
DELETE = 'mutation { deletePipelineRun(runId: "%s") { __typename } }'
MUTATIONS = (
    DELETE,
    'mutation { stopSensor(id: "%s") { __typename } }',
    'mutation { launchPartitionBackfill(backfillParams: {partitionNames: ["%s"]}) { __typename } }',
)
SUBSCRIPTION = """
    subscription ($run: ID!) {
      pipelineRunLogs(runId: $run) { ... on PipelineRunLogsSubscriptionSuccess { run { runId } } }
    }
"""
CODE = """
import dagster as dg

@dg.op
def work(): ...

@dg.job
def collect():
    work()
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceProcessContext]:
    """What Dagster's webserver serves: an instance, and a code location."""
    folder = tmp_path_factory.mktemp("ui")
    (folder / "location.py").write_text(CODE)
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(python_file=str(folder / "location.py")), location_name="here"
    )
    with (
        DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}}) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process,
    ):
        yield process


@contextmanager
def serving(process: WorkspaceProcessContext, settings: Settings) -> Iterator[str]:
    """The UI behind its guard, on a port of this machine: its address, without the scheme."""
    app = guarded(create_app_from_workspace_process_context(process), Admission.at("0.0.0.0", settings))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def ui(process: WorkspaceProcessContext) -> Iterator[str]:
    """With a public name, and nobody asked for a login."""
    with serving(process, Settings(dagster_ui_hosts=HOSTS)) as address:
        yield address


@pytest.fixture(scope="module")
def closed_ui(process: WorkspaceProcessContext) -> Iterator[str]:
    """With a login, or a proxy that says who has logged in."""
    settings = Settings(dagster_ui_hosts=PUBLIC, dagster_ui_login=LOGIN, dagster_ui_user_header="X-Forwarded-User")
    with serving(process, settings) as address:
        yield address


@pytest.fixture
def run_id(process: WorkspaceProcessContext) -> str:
    """A run that somebody may delete."""
    return create_run_for_test(process.instance, job_name="collect", status=DagsterRunStatus.SUCCESS).run_id


def exists(process: WorkspaceProcessContext, run_id: str) -> bool:
    return process.instance.get_run_by_id(run_id) is not None


def asked(ui: str, query: str, **headers: str) -> requests.Response:
    """A question as the UI's own pages put it."""
    return requests.post(f"http://{ui}/graphql", json={"query": query}, headers=headers, timeout=30)


# What strangers try.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql%0A", "/%67raphql", "/graphql/"])
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_nothing_is_changed_by_reading(
    ui: str, process: WorkspaceProcessContext, run_id: str, method: str, path: str, mutation: str
) -> None:
    answer = requests.request(method, f"http://{ui}{path}", params={"query": mutation % run_id}, timeout=30)
    assert answer.status_code == 405
    assert exists(process, run_id)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**JSON, "Origin": STRANGER}, 403),
        ({**JSON, "Origin": "null"}, 403),
        ({**JSON, "Origin": "http://["}, 403),
        ({**JSON, "Origin": "http://localhost:8080"}, 403),  # another application of this machine
        ({**JSON, "Origin": f"https://{PUBLIC}.stranger.example"}, 403),
        *(({**JSON, "Origin": origin}, 403) for origin in OTHER_APPLICATIONS),
        ({**JSON, "Host": PUBLIC, "Origin": f"http://{PUBLIC}:8080"}, 403),
        ({**JSON, "Host": f"{PUBLIC}:3000", "Origin": f"http://{PUBLIC}:3001"}, 403),
        ({**JSON, "Host": "localhost", "Origin": "http://localhost:8080"}, 403),
        ({**JSON, "Host": "[::1]:3000", "Origin": "http://[::1]"}, 403),
        ({**JSON, "Referer": f"{STRANGER}/page"}, 403),
        ({**JSON, "Referer": f"http://{PUBLIC}:8080/"}, 403),
        ({**JSON, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**JSON, "Sec-Fetch-Site": "Cross-Site", "Origin": f"https://{PUBLIC}"}, 403),
        ({**JSON, "Sec-Fetch-Site": "same-site"}, 403),
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain; charset=application/json"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
        ({**JSON, "Host": "stranger.example"}, 400),
        ({**JSON, "Host": "127.0.0.1.stranger.example"}, 400),
        ({**JSON, "Host": f"{PUBLIC}.", "Origin": f"https://{PUBLIC}."}, 400),
    ],
)
def test_a_page_of_another_site_changes_nothing(
    ui: str, process: WorkspaceProcessContext, run_id: str, headers: dict[str, str], status: int
) -> None:
    body = json.dumps({"query": DELETE % run_id})
    answer = requests.post(
        f"http://{ui}/graphql", params={"query": DELETE % run_id}, data=body, headers=headers, timeout=30
    )
    assert answer.status_code == status
    assert exists(process, run_id)


@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/runs"])
def test_nothing_is_read_under_a_name_that_is_not_ours(ui: str, path: str) -> None:
    headers = {"Host": f"stranger.example:{ui.rpartition(':')[2]}", "Accept": "text/html"}
    answer = requests.get(f"http://{ui}{path}", headers=headers, timeout=30)
    assert (answer.status_code, answer.text) == (400, "Invalid host header")


@pytest.mark.parametrize("path", ["report_asset_materialization", "report_asset_observation", "report_asset_check"])
def test_a_form_of_another_site_reports_nothing(ui: str, path: str) -> None:
    assert requests.post(f"http://{ui}/{path}/activity_events", data={"x": "y"}, timeout=30).status_code == 415


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": STRANGER},
        {"Origin": "null"},
        {"Host": "stranger.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": f"{STRANGER}/"},
        *({"Origin": origin} for origin in OTHER_APPLICATIONS),
        {"Host": PUBLIC, "Origin": f"http://{PUBLIC}:8080"},
    ],
    ids=str,
)
def test_a_page_of_another_site_listens_to_nothing(ui: str, headers: dict[str, str]) -> None:
    answer = upgraded(ui, **headers)
    assert answer.split()[1] in {"400", "403"}


# What the UI's own pages and programs do.


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:1234", "Origin": "http://localhost:1234", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[::1]:3000", "Origin": "http://[::1]:3000"},
        {"Host": "webserver:3000"},  # a worker, in a network of containers
        {"Host": PUBLIC, "Origin": f"https://{PUBLIC}"},
        {"Host": PUBLIC.upper(), "Origin": f"http://{PUBLIC}"},
        {"Host": f"{PUBLIC}:443", "Origin": f"https://{PUBLIC}"},
        {"Host": f"{PUBLIC}:8080", "Origin": f"http://{PUBLIC}:8080"},
        {"Origin": "https://proxied.example:8443"},
        {"Origin": "https://[2001:db8::1]"},
        {"Referer": f"https://{PUBLIC}/runs?cursor=1"},
        {"Origin": f"https://{PUBLIC}"},  # through a proxy that asks us under our own name
        {"Content-Type": "application/json; charset=utf-8"},
    ],
)
def test_our_own_pages_and_programs_change_what_they_ask(
    ui: str, process: WorkspaceProcessContext, run_id: str, headers: dict[str, str]
) -> None:
    answer = asked(ui, DELETE % run_id, **headers)
    assert answer.json() == {"data": {"deletePipelineRun": {"__typename": "DeletePipelineRunSuccess"}}}
    assert not exists(process, run_id)


@pytest.mark.parametrize(("path", "holds"), [("/", "assetPrefix"), ("/graphql", "graphiql"), ("/runs", "assetPrefix")])
def test_pages_are_shown_and_framed_by_no_other_site(ui: str, path: str, holds: str) -> None:
    # Followed from a link elsewhere: Temporal's UI has such.
    headers = {"Accept": "text/html,*/*", "Sec-Fetch-Site": "cross-site"}
    answer = requests.get(f"http://{ui}{path}", headers=headers, timeout=30)
    assert answer.status_code == 200
    assert holds in answer.text
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("origin", ["http://{ui}", f"https://{PUBLIC}"])
def test_our_own_pages_listen_to_a_run(ui: str, run_id: str, origin: str) -> None:
    assert heard_of(ui, run_id, origin=origin.format(ui=ui)) == run_id


# Where a login is asked for.


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !", "Basic YWRh", "Bearer x", "Basic " + b64encode(b"ada:wrong").decode()]
)
def test_a_stranger_is_asked_to_log_in(
    closed_ui: str, process: WorkspaceProcessContext, run_id: str, authorization: str
) -> None:
    for answer in (
        asked(closed_ui, DELETE % run_id, Authorization=authorization),
        requests.get(f"http://{closed_ui}/", headers={"Authorization": authorization}, timeout=30),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert LOGIN.get_secret_value() not in answer.text
    assert exists(process, run_id)
    assert upgraded(closed_ui, Authorization=authorization).split()[1] == "403"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic " + b64encode(LOGIN.get_secret_value().encode()).decode()},
        {"X-Forwarded-User": "ada"},
    ],
)
def test_who_has_logged_in_is_let_in(
    closed_ui: str, process: WorkspaceProcessContext, run_id: str, headers: dict[str, str]
) -> None:
    assert requests.get(f"http://{closed_ui}/", headers=headers, timeout=30).status_code == 200
    assert heard_of(closed_ui, run_id, **headers) == run_id
    assert asked(closed_ui, DELETE % run_id, **headers).status_code == 200
    assert not exists(process, run_id)
    # A login does not make another site's page ours.
    assert asked(closed_ui, DELETE % run_id, Origin=STRANGER, **headers).status_code == 403


def test_a_health_check_needs_no_login(closed_ui: str) -> None:
    answer = requests.get(f"http://{closed_ui}/server_info", timeout=30)
    assert set(answer.json()) == {"dagster_webserver_version", "dagster_version", "dagster_graphql_version"}


def test_our_own_programs_log_in_with_the_same_setting(closed_ui: str) -> None:
    settings = Settings(dagster_url=f"http://{closed_ui}", dagster_code_location="here")
    with pytest.raises(DagsterError, match="401"):
        dagster_client(settings).daemons()
    assert dagster_client(settings.model_copy(update={"dagster_ui_login": LOGIN})).daemons()


@pytest.mark.parametrize("login", ["ada", "ada:", ":secret"])
def test_a_login_without_name_or_password_is_refused(login: str) -> None:
    with pytest.raises(SettingsError, match="DAGSTER_UI_LOGIN holds no login") as refused:
        Admission.at("127.0.0.1", Settings(dagster_ui_login=SecretStr(login)))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "hosts", ["*", "*.example", "https://dagster.example", "dagster.example/x", "a b", "a:b", "[::"]
)
def test_what_is_no_name_is_refused_for_one(hosts: str) -> None:
    with pytest.raises(SettingsError, match="DAGSTER_UI_HOSTS holds names"):
        Admission.at("127.0.0.1", Settings(dagster_ui_hosts=f"dagster.example, {hosts}"))


# A socket, as a browser opens it.


def upgraded(ui: str, **headers: str) -> str:
    """The first line of the answer to a request for a socket."""
    lines = {
        "Host": ui,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "graphql-ws",
        **headers,
    }
    host, _, port = ui.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        request = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"GET /graphql HTTP/1.1\r\n{request}\r\n".encode())
        return connection.makefile("r").readline()


def heard_of(ui: str, run_id: str, **headers: str) -> str:
    """The run that the UI's server tells of, to who listens to this run."""
    origin = headers.pop("origin", f"http://{ui}")
    with connect(
        f"ws://{ui}/graphql",
        origin=Origin(origin),
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers=headers,
    ) as listening:
        listening.send(json.dumps({"type": "connection_init"}))
        assert json.loads(listening.recv(timeout=30)) == {"type": "connection_ack"}
        question = {"query": SUBSCRIPTION, "variables": {"run": run_id}}
        listening.send(json.dumps({"type": "start", "id": "1", "payload": question}))
        answer = json.loads(listening.recv(timeout=30))
        return str(answer["payload"]["data"]["pipelineRunLogs"]["run"]["runId"])
