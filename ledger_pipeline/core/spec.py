"""What the repo-spec says, as frozen types. How it is written in YAML is known to `repo_spec.py` alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from uuid import UUID

from ledger_pipeline.core.claims import NodeClaims
from ledger_pipeline.core.errors import UnknownScope, WindowError
from ledger_pipeline.core.owners import OwnerRules
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.sources import SourceKind, StreamKind, source_kind, source_kinds
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow


class Dialect(StrEnum):
    """In whose words a scope's file is written: by the key that says how units are estimated.

    ATTRIBUTION_PIPELINE is what the system we join writes now. A name under that key stands for a selection policy and
    for weights as well (`core.attribution`).
    """

    CREDIT_ESTIMATE_ALGO = "credit_estimate_algo"
    ATTRIBUTION_PIPELINE = "attribution_pipeline"


@dataclass(frozen=True)
class SourceSpec:
    """What a scope collects from one source: which source_scopes, which streams, and how units are estimated.

    `credit_estimate_algo` is the name that stands under the key of the scope's dialect.

    `source_scopes` are those that the repo-spec names. What `owners` have is known to the ledger once the source has
    listed it: `pipeline/owners.py` adds it, and `listed` says what of them that is.
    """

    source: str
    credit_estimate_algo: str
    source_scopes: tuple[str, ...]
    streams: tuple[str, ...]
    owners: OwnerRules = field(default_factory=OwnerRules)
    listed: tuple[str, ...] = ()

    @property
    def source_refs(self) -> tuple[str, ...]:
        """As the repo-spec has them: what it names, then what stands for all that an owner has, as `acme/*`."""
        return (*(name for name in self.source_scopes if name not in self.listed), *self.owners.refs)


@dataclass(frozen=True)
class ScheduleSpec:
    """A governance schedule: `cron` has five fields, read in `timezone` (an IANA name)."""

    charter: str
    cron: str
    timezone: str
    entrypoint: str


@dataclass(frozen=True)
class Scope:
    """One project: its identity, its epochs and what it collects. `first_epoch` is a window's first day (UTC).

    `selection` is the policy that decides which events count, None where all do. `claims` are those of all scopes of
    the node, None where there are none. `is_simulated` where what it collects is made up, so that anybody may sign for
    it. `dialect` is that of its file. `chain_id` is the chain whose typed data approvers sign, None where they sign a
    text; `approval_threshold` of them put a statement in force.
    """

    scope_id: UUID
    scope_key: str
    epoch_length_days: int
    first_epoch: date
    sources: tuple[SourceSpec, ...]
    approvers: tuple[str, ...]
    base_issuance_credits: int | None
    auto_close_grace_hours: int
    weights_milli: Mapping[str, int]
    schedules: tuple[ScheduleSpec, ...]
    file: str
    is_simulated: bool = False
    selection: SelectionChoice | None = None
    claims: NodeClaims | None = None
    dialect: Dialect = Dialect.CREDIT_ESTIMATE_ALGO
    chain_id: int | None = None
    approval_threshold: int = 1

    @property
    def calendar(self) -> EpochCalendar:
        """The windows this scope's epochs are."""
        return EpochCalendar(self.epoch_length_days)

    @property
    def stream_kinds(self) -> tuple[StreamKind, ...]:
        """Every stream of the sources that it collects from, also those streams that it leaves out."""
        return tuple(stream for spec in self.sources for stream in source_kind(spec.source).streams)

    def source_spec(self, source: str) -> SourceSpec | None:
        """What it collects from `source`; None where that is nothing."""
        return next((spec for spec in self.sources if spec.source == source), None)

    def asks_paths(self, source_scope: str) -> bool:
        """Whether changed paths decide to which scope what is done in a repository goes."""
        routing = None if self.selection is None else self.selection.routing
        return routing is not None and routing.asks_paths(source_scope)

    @property
    def repositories_by_path(self) -> frozenset[str]:
        """All names, case folded, of what `asks_paths` is true of."""
        routing = None if self.selection is None else self.selection.routing
        return frozenset() if routing is None else routing.repositories_by_path

    def window(self, day: date) -> EpochWindow:
        """The epoch window starting on `day`. Raises WindowError if none does, or it precedes the first epoch."""
        window = self.calendar.window_starting(day)
        if day < self.first_epoch:
            raise WindowError(
                f"epoch {day.isoformat()} precedes the first epoch of scope {self.scope_key}, "
                f"{self.first_epoch.isoformat()} (activity_ledger.first_epoch in {self.file})"
            )
        return window


@dataclass(frozen=True)
class RepoSpec:
    """A node's whole specification. The first scope is the default one, from the repo-spec itself.

    `notes` are sentences on what its files hold that was ignored.
    """

    node_id: UUID
    scopes: tuple[Scope, ...]
    file: str
    notes: tuple[str, ...] = ()

    @property
    def default_scope(self) -> Scope:
        """The scope of the repo-spec itself."""
        return self.scopes[0]

    @property
    def calendar(self) -> EpochCalendar:
        """The windows of every scope: one node has one epoch length."""
        return self.default_scope.calendar

    @property
    def first_epoch(self) -> date:
        """The first day any scope collects."""
        return min(scope.first_epoch for scope in self.scopes)

    @property
    def source_kinds(self) -> tuple[SourceKind, ...]:
        """The sources that some scope collects from, in the order in which people see them."""
        collected = {spec.source for scope in self.scopes for spec in scope.sources}
        return tuple(kind for kind in source_kinds() if kind.name in collected)

    def scope(self, scope_key: str) -> Scope:
        """The scope called `scope_key`. Raises UnknownScope naming those there are."""
        for scope in self.scopes:
            if scope.scope_key == scope_key:
                return scope
        scope_keys = ", ".join(scope.scope_key for scope in self.scopes)
        raise UnknownScope(f"no scope {scope_key!r} in {self.file} or its projects: there is {scope_keys}")
