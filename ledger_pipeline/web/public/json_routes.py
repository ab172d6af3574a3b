"""The public JSON routes, with the paths and shapes of the system we join: bigints as strings, times ISO 8601."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from ledger_pipeline.core.claimants import IdentityClaimant, claimant_of_key
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.publication import Line, Publication, PublishedEpoch
from ledger_pipeline.web.public.answers import json_answer
from ledger_pipeline.web.public.asked import epoch_asked, epoch_id_asked, scope_asked, shelf_of, whole_number
from ledger_pipeline.web.public.openapi import document

API = "/api/v1/public/attribution/epochs"
LIMIT, MOST = 100, 200


def epochs(request: Request) -> Response:
    """The finalized epochs of a scope, newest first."""
    shown = shelf_of(request).of(scope_asked(request))
    limit = whole_number(request, "limit", LIMIT, least=1, most=MOST)
    offset = whole_number(request, "offset", 0, least=0)
    some = shown.epochs[offset : offset + limit]
    return json_answer(request, {"epochs": [_epoch(published) for published in some], "total": len(shown.epochs)})


def statement(request: Request) -> Response:
    """The statement of an epoch that is in force; null where there is none, or no such epoch is finalized."""
    there = shelf_of(request).epoch(epoch_id_asked(request))
    if there is None or there[1].chain.in_force is None:
        return json_answer(request, {"statement": None})
    shown, published = there
    receipts = shelf_of(request).ledger.published.receipts(published.epoch)
    return json_answer(request, {"statement": _statement(shown, published, receipts)})


def claimants(request: Request) -> Response:
    """Who has what of a finalized epoch."""
    shown, published = epoch_asked(request)
    receipts = shelf_of(request).ledger.published.receipts(published.epoch)
    return json_answer(
        request,
        {
            "epochId": str(published.epoch.id),
            "poolTotalCredits": str(published.pool_credits),
            "items": [
                {
                    "claimantKey": line.key,
                    "claimant": _claimant(shown, line),
                    "displayName": shown.name_of(line.claimant),
                    "isLinked": not line.is_reserved,
                    "totalUnits": str(line.units_milli),
                    "share": line.share,
                    "amountCredits": str(line.amount_credits),
                    "receiptIds": receipts.get(line.claimant, []),
                }
                for line in published.lines
            ],
        },
    )


def openapi(request: Request) -> Response:
    """What these routes answer, as an OpenAPI document."""
    scopes: Sequence[Scope] = shelf_of(request).spec.scopes
    return json_answer(request, document(API, LIMIT, MOST, [scope.scope_key for scope in scopes]))


def _epoch(published: PublishedEpoch) -> Mapping[str, object]:
    epoch = published.epoch
    return {
        "id": str(epoch.id),
        "status": epoch.status.value,
        "periodStart": instant(epoch.window.start),
        "periodEnd": instant(epoch.window.end),
        "weightConfig": dict(epoch.weights_milli),
        "poolTotalCredits": None if epoch.pool_total_credits is None else str(epoch.pool_total_credits),
        "openedAt": instant(epoch.opened_at),
        "closedAt": instant(epoch.closed_at),
        "createdAt": instant(epoch.created_at),
    }


def _statement(
    shown: Publication, published: PublishedEpoch, receipts: Mapping[str, Sequence[str]]
) -> Mapping[str, object]:
    in_force = published.chain.in_force
    if in_force is None:
        raise ValueError(f"epoch {published.epoch.id} has no statement in force")
    return {
        "id": str(in_force.id),
        "epochId": str(in_force.epoch_id),
        "finalAllocationSetHash": in_force.allocation_set_hash,
        "poolTotalCredits": str(in_force.pool_total_credits),
        "statementLines": [
            {
                "claimant_key": line.key,
                "claimant": _claimant(shown, line),
                "final_units": str(line.units_milli),
                "pool_share": line.share,
                "credit_amount": str(line.amount_credits),
                "receipt_ids": receipts.get(line.claimant, []),
            }
            for line in published.lines
        ],
        "supersedesStatementId": None
        if in_force.supersedes_statement_id is None
        else str(in_force.supersedes_statement_id),
        "createdAt": instant(in_force.created_at),
    }


def _claimant(shown: Publication, line: Line) -> Mapping[str, object]:
    claimant = claimant_of_key(line.key)
    if isinstance(claimant, IdentityClaimant):
        claimant = IdentityClaimant(claimant.provider, claimant.external_id, shown.logins.get(line.claimant))
    return claimant.to_json()


def instant(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond, as that system writes it."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
