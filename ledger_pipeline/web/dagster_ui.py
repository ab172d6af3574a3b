"""Dagster's web UI, behind our guard."""

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import dagster as dg
import uvicorn

# `dagster-webserver` has no public way to make its ASGI app; without it, a guard around it could not be put.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from ledger_pipeline.web.guard import Admission, guarded
from ledger_pipeline.web.reports import take_whole_materializations

# As `dagster-webserver` has them.
STATEMENT_TIMEOUT_MILLISECONDS = 15000
POOL_RECYCLE_SECONDS = 3600
POOL_MAX_OVERFLOW = 20

_log = logging.getLogger("dagster-webserver")


def serve_dagster_ui(workspace: Path, host: str, port: int, admission: Admission) -> None:
    """Serve the UI of the instance in DAGSTER_HOME, over the code locations of `workspace`, until told to stop.

    What it logs goes where the process's own lines go; Dagster and Uvicorn add no handlers of theirs.
    """
    for name in ("dagster", "dagster-webserver"):
        logging.getLogger(name).setLevel(logging.INFO)
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MILLISECONDS, POOL_RECYCLE_SECONDS, POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target) as process:
            app = create_app_from_workspace_process_context(process)
            take_whole_materializations(app, instance, partial(upstream_of, process))
            app = guarded(app, admission)
            _log.info("Serving Dagster's UI on http://%s:%s", host, port)
            uvicorn.run(app, host=host, port=port, log_level="warning", log_config=None)


def upstream_of(process: WorkspaceProcessContext, asset_key: dg.AssetKey) -> Iterable[dg.AssetKey]:
    """What an asset follows from, as the loaded code locations say; nothing of one that they do not have."""
    graph = process.create_request_context().asset_graph
    return graph.get(asset_key).parent_keys if graph.has(asset_key) else ()
