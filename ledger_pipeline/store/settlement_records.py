"""What the ledger holds of who earns how much: identities, curation, allocations and pool, as records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.repository_names import NO_NAMES, KnownNames
from ledger_pipeline.core.routing import Share
from ledger_pipeline.core.selection.policy import Decision as SelectionDecision
from ledger_pipeline.core.statements import UserUnits


@dataclass(frozen=True)
class NewBinding:
    """An account at a provider (`github`, its numeric id as text) and the user it belongs to."""

    provider: str
    external_id: str
    user_id: str


@dataclass(frozen=True)
class UnresolvedAccount:
    """An account that nobody linked to a user: its latest login, its events, and the milli-units at stake.

    The login is empty where none of them shows one, as of whoever is a co-author alone.
    """

    provider: str
    external_id: str
    login: str
    events: int
    units: int


@dataclass(frozen=True)
class Resolution:
    """What one materialization did to the curation of an epoch: rows added, and users filled in where missing."""

    added: int
    resolved: int


@dataclass(frozen=True)
class CurationSummary:
    """The curation of an epoch in numbers of events; `users` have at least one."""

    events: int
    unresolved: int
    excluded: int
    overridden: int
    users: int


@dataclass(frozen=True)
class Judgement:
    """What a person says of one event: None leaves as it is. `clear_weight` takes an override away.

    `follows_policy` takes all back that they said before, so that the selection policy decides again.
    """

    note: str
    included: bool | None = None
    weight_override_milli: int | None = None
    clear_weight: bool = False
    follows_policy: bool = False


@dataclass(frozen=True)
class Decision:
    """What a person decided about one event: whether it counts, its weight where that is another, and why.

    `follows_policy` where they took that back. `policy_included` and `policy_reason` are what a selection policy says
    of it, None where there is none.
    """

    event_id: str
    artifact_url: str
    login: str
    user_id: str | None
    included: bool
    weight_override_milli: int | None
    note: str | None
    follows_policy: bool = False
    policy_included: bool | None = None
    policy_reason: str | None = None


@dataclass(frozen=True)
class EventOverride:
    """What a person decided about one event: its milli-units, and parts in millionths by claimants' keys; None: as it
    was. With neither they took the earlier ones back.

    `place` counts an event's from 1, and the last one holds. `replaced` is what the event was worth then, and to whom.
    """

    event_id: str
    place: int
    units: int | None
    shares: Mapping[str, int] | None
    replaced: Mapping[str, Json]
    reason: str
    actor: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class EventToSelect:
    """An event as a selection policy sees it; `facts` are its pinned ones as JSON, None where nobody observed any.

    `metadata` has the members that a policy may decide by. `event_time` is aware, UTC.
    """

    event_id: str
    source: str
    event_type: str
    user_id: str
    login: str
    event_time: datetime
    metadata: Mapping[str, Json]
    facts: Mapping[str, Json] | None


class JudgedEvent(NamedTuple):
    """An event, for whom it counts (None: for nobody yet), and whether and how it does by now.

    `facts_text` is its facts in JSON, None where nobody observed any. `event_time` is aware, UTC. `included` and
    `weight_override_milli` are a person's, who decided where it is `by_person`; `counts` is what holds, and
    `factor_milli` the factor of its weight that holds. `co_authors` are the claimants that have a part of it beside
    `counts_for`, None where none has; `shares` are the millionths by claimants' keys where a person decided them.
    """

    event_id: str
    source: str
    event_type: str
    user_id: str
    login: str
    event_time: datetime
    repository: str | None
    number: int | None
    state: str | None
    facts_text: str | None
    counts_for: str | None
    included: bool
    weight_override_milli: int | None
    counts: bool
    factor_milli: int | None
    by_person: bool
    co_authors: Sequence[str] | None
    shares: Mapping[str, int] | None


@dataclass(frozen=True)
class SelectedEvents:
    """An epoch's events, the decisions on them that are stored, and the ids that excluded logins have by now.

    `routing_facts` are those, by event id, by which an epoch that closed with claims of several scopes routes events;
    `names` are those of repositories that are known then, and `shares` the parts of events that it closed with.
    `first_names` are, by event id, repositories as the node stored those events first that the scope has by another.
    """

    events: Sequence[EventToSelect]
    decisions: Mapping[str, SelectionDecision]
    excluded_ids: tuple[str, ...]
    routing_facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    names: KnownNames = NO_NAMES
    shares: Mapping[str, Share] = field(default_factory=dict)
    first_names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SelectionTally:
    """`events` of one kind on which a policy decided the same, and a person the same or nothing.

    `counts` is what holds of the two; `weight_override_milli` is a person's.
    """

    reason: str
    included: bool
    by_person: bool
    counts: bool
    kind: str
    weight_factor_milli: int | None
    weight_override_milli: int | None
    events: int


@dataclass(frozen=True)
class Allocation:
    """One claimant's units in an epoch, in milli: as proposed, and as a person decided where one did.

    `user_id` is a user's id, or the key of an account that nobody linked to a user (`core.claimants`).
    """

    user_id: str
    proposed_units: int
    final_units: int | None
    override_reason: str | None
    activity_count: int

    @property
    def units(self) -> int:
        """What counts: the person's decision, else the proposal."""
        return self.proposed_units if self.final_units is None else self.final_units


@dataclass(frozen=True)
class DoubtfulEvent:
    """An event as it is stored, that may count and that the database cannot recompute; maybe others can."""

    event_id: str
    event_type: str
    platform_user_id: str
    metadata: Mapping[str, Json]
    stored_hash: str
    event_time: datetime


def valued(allocations: Sequence[Allocation]) -> list[UserUnits]:
    """What a statement shares the pool out by."""
    return [UserUnits(allocation.user_id, allocation.units) for allocation in allocations]


@dataclass(frozen=True)
class PoolComponent:
    """A component as the ledger holds it; `computed_at` aware, UTC; `id` is of its row."""

    component_id: str
    algorithm_version: str
    inputs: Mapping[str, Json]
    amount_credits: int
    evidence_ref: str | None
    computed_at: datetime
    id: UUID
