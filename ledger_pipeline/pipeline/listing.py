"""Asking a source what owners have, where what was listed last is not new enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from ledger_pipeline.core.errors import SourceError, SourceRefused
from ledger_pipeline.core.owners import owner_of
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.pipeline.coverage import closes_at, shown_whole_at
from ledger_pipeline.pipeline.owners import KnownOwners, OwnerKey, keys_of, known_owners
from ledger_pipeline.sources.port import ActivitySource, ListsOwners, RequestUsage

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


@dataclass(frozen=True)
class Listing:
    """What asking for owners gave. `began_at` is the source's time at the first answer, None where none came.

    `found` are source_scopes that are collected from now on, `gone` those that are not any more, for the source lists
    them no longer: what was read of them stays.
    """

    owners: KnownOwners
    usage: RequestUsage | None = None
    began_at: datetime | None = None
    failures: Mapping[str, SourceError] = field(default_factory=dict)
    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def list_owners(
    source: ActivitySource,
    store: "PostgresLedger",
    scope: Scope,
    windows: Sequence[EpochWindow],
    known_time: datetime | None,
    *,
    full_refresh: bool = False,
    max_age: timedelta | None = None,
) -> Listing:
    """Have the source list the owners that `scope` collects all of, where `windows` or open epochs need it.

    None is asked for whose latest listing shows all of `windows`, or is at most `max_age` old, and closes every open
    epoch that is over at `known_time` (the latest that is known of the source's clock). One that fails is in the
    answer, never raised; StoreUnavailable is.
    """
    before = known_owners(store, scope)
    keys = [key for spec in scope.sources if spec.source == source.name for key in keys_of(spec)]
    due = [key for key in keys if full_refresh or _is_due(store, before, key, windows, known_time, max_age)]
    usages: list[RequestUsage] = []
    failures: dict[str, SourceError] = {}
    times: list[datetime] = []
    for _, ref in due:
        try:
            with contained(source.name, ref):
                owned = cast("ListsOwners", source).list_owner(ref)
                store.listings.keep(scope.scope_id, source.name, ref, owned.source_scopes, owned.began_at)
        except SourceError as error:
            failures[ref] = error
        else:
            usages.append(owned.usage)
            times.append(owned.began_at)
    after = known_owners(store, scope) if due else before
    for _, ref in due:
        if ref not in failures and not _taken(after.scope, source.name, ref):
            problem = "nothing of it is collected: all that is listed is archived, a fork, or in exclude"
            failures[ref] = SourceRefused(source.name, ref, problem)
    had, has = _listed(before.scope, source.name), _listed(after.scope, source.name)
    return Listing(
        after,
        _sum(usages),
        min(times, default=None),
        failures,
        tuple(name for name in has if name not in had),
        tuple(name for name in had if name not in has),
    )


def _is_due(
    store: "PostgresLedger",
    owners: KnownOwners,
    key: OwnerKey,
    windows: Sequence[EpochWindow],
    known_time: datetime | None,
    max_age: timedelta | None,
) -> bool:
    listed_at = owners.listed_at.get(key)
    if listed_at is None:
        return True
    is_new = known_time is not None and max_age is not None and known_time - listed_at <= max_age
    if listed_at < shown_whole_at(span(windows)) and not is_new:
        return True
    if known_time is None:
        return False
    scope = owners.scope
    over = [epoch.window for epoch in store.epochs.still_open(scope.scope_id) if epoch.window.end <= known_time]
    return any(
        listed_at < closes_at(scope, window) and (not is_new or closes_at(scope, window) <= known_time)
        for window in over
    )


def _taken(scope: Scope, source: str, ref: str) -> bool:
    spec = scope.source_spec(source)
    return spec is not None and any(owner_of(name) == owner_of(ref) for name in spec.source_scopes)


def _listed(scope: Scope, source: str) -> tuple[str, ...]:
    spec = scope.source_spec(source)
    return () if spec is None else spec.listed


def _sum(usages: Sequence[RequestUsage]) -> RequestUsage | None:
    if not usages:
        return None
    requests, points = sum(usage.requests for usage in usages), sum(usage.points for usage in usages)
    return RequestUsage(requests, points, usages[-1].points_left)
