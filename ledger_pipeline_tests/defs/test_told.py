"""What a command tells Dagster over its API is what a run would say of the epoch: tables, charts, checks, and in step
with what comes before and after it.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any

import dagster as dg
import pytest
import requests
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_webserver.app import create_app_from_workspace_process_context

from ledger_pipeline.cli.dagster_report import tell_dagster
from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.dagster_contract import EVERY_SOURCE_SCOPE_READ, STATEMENT_RECOMPUTES, WHOLE_MATERIALIZATION
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, PAYOUT_STATEMENT
from ledger_pipeline.web.dagster_ui import upstream_of
from ledger_pipeline.web.reports import take_whole_materializations
from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.defs.test_materializations import FIRST, LAST, OPEN, SIGNED, out_of_step, settle, signed
from ledger_pipeline_tests.defs.user_interface import user_interface
from ledger_pipeline_tests.waiting import eventually

__all__ = ["signed"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WEEK = SIGNED.partition("|")[0]
AFTER_COLLECTION = ("activity_curation", "epoch_allocations", "pool_components", "epoch", "payout_statement")
# What only a run does, and who asked.
OF_A_RUN = {"added", "resolved", "trigger"}


@contextmanager
def web_server(workspace: WorkspaceProcessContext, *, is_ours: bool = True) -> Iterator[str]:
    """Dagster's web server over the workspace, with our route for reports or as Dagster has it; its URL."""
    app = create_app_from_workspace_process_context(workspace)
    if is_ours:
        take_whole_materializations(app, workspace.instance, partial(upstream_of, workspace))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning"))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        eventually(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def tell(deployment: Deployment, url: str, week: str = WEEK) -> None:
    """As `ledger-pipeline epoch finalize` does once the ledger has the statement."""
    deployment.configure(dagster_url=url)
    spec = deployment.settings.repo_spec()
    access = LedgerAccess(deployment.settings.read(), spec, spec.default_scope, deployment.ledger)
    tell_dagster(access, week, "epoch finalize", status_moved=True)


def told(deployment: Deployment, asset: str) -> dg.AssetMaterialization:
    """The latest materialization of the signed week."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[SIGNED])
    [record] = deployment.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization


def test_a_command_shows_what_a_run_shows_and_leaves_all_in_step(
    signed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(signed, "allocate_epoch", SIGNED, SIGNED)
    assert signed.materialize(WEEK).success
    of_run = {asset: told(signed, asset) for asset in ("activity_events", *AFTER_COLLECTION)}
    with user_interface(signed) as ui, web_server(ui.workspace) as url:
        # This Dagster's storage is not ours, and keeps the first result of each check.
        for note in ("", "takes one result without a run, and has one"):
            tell(signed, url)
            assert note in (says := capsys.readouterr().err)
            assert bool(note) is bool(says)
            assert set(ui.in_step(SIGNED).values()) == {"FRESH"}
    for asset, materialization in of_run.items():
        of_command = told(signed, asset)
        assert of_command.metadata["trigger"].value == "ledger-pipeline epoch finalize"
        assert without(of_command.metadata) == without(materialization.metadata)
        tags, tags_of_run = of_command.tags or {}, materialization.tags or {}
        assert tags["dagster/data_version"] == tags_of_run["dagster/data_version"]
        # Also what Dagster finds a partition of two dimensions by.
        assert tags.keys() == tags_of_run.keys()
    for asset_key, check in ((ACTIVITY_EVENTS, EVERY_SOURCE_SCOPE_READ), (PAYOUT_STATEMENT, STATEMENT_RECOMPUTES)):
        assert signed.check_evaluation(check, SIGNED, asset_key).passed
    assert signed.materialize(FIRST, LAST, full_refresh=True).success
    settle(signed, "allocate_epoch", SIGNED, OPEN)
    assert out_of_step(signed, SIGNED) == set()


def test_dagsters_own_web_server_takes_the_same_as_json(signed: Deployment) -> None:
    with user_interface(signed) as ui, web_server(ui.workspace, is_ours=False) as url:
        tell(signed, url)
    statement = told(signed, "payout_statement").metadata
    assert statement["payouts"] == dg.MetadataValue.json(
        [{"user": "user-ana", "units": "1.5", "share": "100 %", "credits": "1000"}]
    )
    assert "█" in str(statement["credits_per_user"].value)
    assert WHOLE_MATERIALIZATION not in statement


def test_what_is_no_whole_materialization_is_refused_or_left_to_dagster(deployment: Deployment) -> None:
    with user_interface(deployment) as ui, web_server(ui.workspace) as url:
        address = f"{url}/report_asset_materialization/anything"
        for whole in ("no json", "{}", "[" * 100_000, '{"__class__": "AssetKey", "path": ["a"]}', None, 1):
            refused = requests.post(address, json={WHOLE_MATERIALIZATION: whole}, timeout=30)
            assert (refused.status_code, "is no materialization" in refused.text) == (400, True), whole
        assert requests.post(address, json={"metadata": {"a": 1}}, timeout=30).json() == {}
        assert requests.post(address, data="x", headers={"Content-Type": "text/plain"}, timeout=30).status_code == 400
    [record] = deployment.instance.fetch_materializations(dg.AssetKey("anything"), limit=5).records
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["a"].value == 1


def without(metadata: Any) -> dict[str, Any]:
    return {label: value for label, value in metadata.items() if label not in OF_A_RUN}
