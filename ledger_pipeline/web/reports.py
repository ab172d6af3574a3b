"""What a command tells of a partition is stored as of a run: with tables, charts, and what the partition follows from.

Dagster's own route for materializations without a run makes JSON of a table and text of a chart, and knows nothing of
what comes before: such a partition would read as "Unsynced" once that is looked at again. A report that has all of it
says so in one entry more, which Dagster's own route does not look at. So it can be sent to either.
"""

from collections.abc import Callable, Iterable

import dagster as dg
from dagster_shared.check import CheckError
from dagster_shared.serdes.errors import DeserializationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.status import HTTP_400_BAD_REQUEST

from ledger_pipeline.core.json_text import MAX_JSON_DEPTH, json_of, nests_deeper
from ledger_pipeline.dagster_contract import WHOLE_MATERIALIZATION
from ledger_pipeline.defs.materializations import followed

_PATH = "/report_asset_materialization/{asset_key:path}"


def take_whole_materializations(
    app: Starlette, instance: dg.DagsterInstance, upstream_of: Callable[[dg.AssetKey], Iterable[dg.AssetKey]]
) -> None:
    """Let `app`, which is Dagster's over `instance`, store what has the entry WHOLE_MATERIALIZATION as it is.

    What has none, or is no JSON, is left to the route that the application had before.
    """
    [dagsters_own] = [route for route in app.routes if isinstance(route, Route) and route.path == _PATH]

    async def report(request: Request) -> Response:
        try:
            body = json_of(await request.body() or b"{}")
        except ValueError:
            body = {}
        if not isinstance(body, dict) or WHOLE_MATERIALIZATION not in body:
            response: Response = await dagsters_own.endpoint(request)
            return response
        materialization = _whole(body[WHOLE_MATERIALIZATION])
        if materialization is None:
            return JSONResponse({"error": f"{WHOLE_MATERIALIZATION} is no materialization"}, HTTP_400_BAD_REQUEST)
        await run_in_threadpool(store, materialization)
        return JSONResponse({})

    def store(materialization: dg.AssetMaterialization) -> None:
        upstream = followed(instance, upstream_of(materialization.asset_key))
        tags = {**upstream, **(materialization.tags or {})}
        instance.report_runless_asset_event(materialization._replace(tags=tags))

    app.router.routes.insert(0, Route(_PATH, report, methods=["POST"]))


def _whole(text: object) -> dg.AssetMaterialization | None:
    """What Dagster's `serialize_value` made `text` of; None where that is no materialization."""
    if not isinstance(text, str) or nests_deeper(text, MAX_JSON_DEPTH):
        return None
    try:
        value = dg.deserialize_value(text)
    except (CheckError, DeserializationError, ValueError):
        return None
    return value if isinstance(value, dg.AssetMaterialization) else None
