"""Requests against the repo-spec, which decides: the scope, window, source_scope and streams that a caller means.

Every refusal is a PayloadError naming the field, and says both what was asked and what there is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic.alias_generators import to_camel

from ledger_pipeline.core.errors import PayloadError, WindowError
from ledger_pipeline.core.owners import is_owner_ref, owner_of
from ledger_pipeline.core.spec import Dialect, RepoSpec, Scope, SourceSpec
from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.pipeline.owners import known_owners
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.contract import ActivitySource, CollectEpochInput
from ledger_pipeline.temporal_bridge.ledger_activities.codec import utc
from ledger_pipeline.temporal_bridge.ledger_activities.wire import SourceScopeInput

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class Where:
    """The part of a request that says what it is about, as the repo-spec has it."""

    scope: Scope
    source: SourceSpec
    source_scope: str


def find_where(spec: RepoSpec, asked: SourceScopeInput, store: PostgresLedger) -> Where:
    """The source_scope a request is about; of what owners have, what the ledger knows of by now is spelled as there."""
    scope = known_owners(store, find_scope(spec, asked.scope_id)).scope
    source = find_source(scope, asked.source)
    return Where(scope, source, find_source_scope(scope, source, asked.source_ref))


def find_scope(spec: RepoSpec, scope_id: UUID | None, field: str = "scopeId") -> Scope:
    """The scope of that id, the default one for None."""
    if scope_id is None:
        return spec.default_scope
    for scope in spec.scopes:
        if scope.scope_id == scope_id:
            return scope
    scope_names = ", ".join(f"{scope.scope_id} ({scope.scope_key})" for scope in spec.scopes)
    raise PayloadError(field, f"{scope_id} is no scope of {spec.file} or its projects: there is {scope_names}")


def find_window(scope: Scope, start: datetime, end: datetime, now: datetime) -> EpochWindow:
    """The scope's epoch window from `start` to `end`, which has begun at `now`."""
    start, end = utc("periodStart", start), utc("periodEnd", end)
    try:
        window = scope.window(start.date())
    except WindowError as error:
        raise PayloadError("periodStart", str(error)) from None
    if start != window.start:
        raise PayloadError("periodStart", f"{iso_millis(start)} is no midnight: epoch {window.key} starts at 00:00 UTC")
    if end != window.end:
        problem = f"{iso_millis(end)} is not the end of epoch {window.key}, which is {iso_millis(window.end)}"
        raise PayloadError("periodEnd", problem)
    if window.start > now:
        raise PayloadError("periodStart", f"epoch {window.key} has not begun")
    return window


def find_source(scope: Scope, source: str) -> SourceSpec:
    """What the scope collects from `source`."""
    for spec in scope.sources:
        if spec.source == source:
            return spec
    source_names = ", ".join(spec.source for spec in scope.sources)
    raise PayloadError("source", f"scope {scope.scope_key} does not collect from {source!r}: {source_names}")


def find_source_scope(scope: Scope, spec: SourceSpec, source_ref: str | None) -> str:
    """The source_scope as the repo-spec spells it; the only one there is for None."""
    source_scopes = ", ".join(spec.source_refs)
    if source_ref is None:
        if len(spec.source_scopes) == 1 and not spec.owners.refs:
            return spec.source_scopes[0]
        raise PayloadError(
            "sourceRef", f"is missing: scope {scope.scope_key} collects several, pass one of {source_scopes}"
        )
    for source_scope in spec.source_scopes:
        if source_scope.casefold() == source_ref.casefold():
            return source_scope
    is_of_owner = owner_of(source_ref) in set(map(owner_of, spec.owners.refs))
    if is_of_owner and is_owner_ref(source_ref):
        raise PayloadError("sourceRef", f"{source_ref!r} stands for all that an owner has: pass one of it at a time")
    if is_of_owner and source_ref.casefold() not in {name.casefold() for name in spec.owners.exclude}:
        return source_ref  # whether there is such a one, the owner's list says
    raise PayloadError("sourceRef", f"scope {scope.scope_key} does not collect {source_ref!r}: {source_scopes}")


def find_streams(where: Where, streams: Sequence[str], field: str = "streams") -> tuple[str, ...]:
    """`streams` in the repo-spec's order, each once."""
    for stream in streams:
        if stream not in where.source.streams:
            stream_names = ", ".join(where.source.streams)
            raise PayloadError(field, f"scope {where.scope.scope_key} does not collect {stream}: {stream_names}")
    return tuple(stream for stream in where.source.streams if stream in streams)


def check_requested(spec: RepoSpec, requested: CollectEpochInput) -> Scope:
    """The scope that a schedule's payload is for: a scope of the spec, called so, with epochs of that length."""
    scope = find_scope(spec, requested.scope_id, "input.scopeId")
    if requested.scope_key != scope.scope_key:
        problem = f"is {requested.scope_key!r}, but scope {scope.scope_id} is called {scope.scope_key!r}"
        raise PayloadError("input.scopeKey", problem)
    if requested.epoch_length_days != scope.epoch_length_days:
        problem = (
            f"is {requested.epoch_length_days}, but {scope.file} says {scope.epoch_length_days}: "
            "bring the schedule up to date with `ledger-pipeline schedules sync`"
        )
        raise PayloadError("input.epochLengthDays", problem)
    return scope


def drift(scope: Scope, requested: CollectEpochInput) -> tuple[str, ...]:
    """Fields in which a schedule's payload differs from the repo-spec, sorted; it may leave any of them out."""
    drifted = []
    for name, source in requested.activity_sources.items():
        place = f"input.activitySources.{name}"
        spec = next((spec for spec in scope.sources if spec.source == name), None)
        drifted += [place] if spec is None else [f"{place}.{field}" for field in _source_drift(scope, spec, source)]
    base, approvers, grace = requested.base_issuance_credits, requested.approvers, requested.auto_close_grace_period_ms
    if base is not None and (scope.base_issuance_credits is None or int(base) != scope.base_issuance_credits):
        drifted.append("input.baseIssuanceCredits")
    if approvers is not None and not _same(approvers, scope.approvers):
        drifted.append("input.approvers")
    if grace is not None and grace != scope.auto_close_grace_hours * MS_PER_HOUR:
        drifted.append("input.autoCloseGracePeriodMs")
    return tuple(sorted(drifted))


def _source_drift(scope: Scope, spec: SourceSpec, source: ActivitySource) -> Iterable[str]:
    # The same name means different things under the two.
    for dialect, name in (
        (Dialect.CREDIT_ESTIMATE_ALGO, source.credit_estimate_algo),
        (Dialect.ATTRIBUTION_PIPELINE, source.attribution_pipeline),
    ):
        if name is not None and (dialect, name) != (scope.dialect, spec.credit_estimate_algo):
            yield to_camel(dialect)
    if source.source_refs is not None and not _same(source.source_refs, spec.source_refs):
        yield "sourceRefs"
    if source.streams is not None and not _same(source.streams, spec.streams):
        yield "streams"


def _same(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether these are the same, whatever their order and case: GitHub's names and wallets mean the same so."""
    return {address.casefold() for address in some} == {address.casefold() for address in others}
