"""Which of an epoch's events count: by the policy that its scope names, or that it closed with, and by people.

Decisions are computed from what the ledger holds and stored beside the events. Without a policy there are none, and
every event counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.routing import SENTENCES, Routing, code_of
from ledger_pipeline.core.selection.choice import SelectionChoice, pinned_choice
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.selection.policy import Candidate, Decision, stored_candidate
from ledger_pipeline.core.selection.routed import decide
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.weights import weighed
from ledger_pipeline.policies import installed_policy, policy_of
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import EventToSelect, SelectedEvents, SelectionTally

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

_NAMED = 3
_REOPEN = "have the owner of the ledger open it again (`ledger-pipeline db reopen`)"
_NOT_AS_CLAIMED = "it closed with parts of events that do not follow from the claims that it closed with"


@dataclass(frozen=True)
class ReasonCount:
    """How many events a policy decides on for one reason, and what that changes against all events counting.

    `by_person` are those of them for which a person decided instead; `moved_milli` is of the others.
    """

    reason: str
    sentence: str
    included: bool
    events: int
    by_person: int
    moved_milli: int


@dataclass(frozen=True)
class SelectionReport:
    """What the policy of an epoch decides, by reason: most events first."""

    policy: str
    reasons: Sequence[ReasonCount]

    @property
    def moved_milli(self) -> int:
        """The milli-units by which the epoch has more (or, below 0, fewer) than if every event counted."""
        return sum(count.moved_milli for count in self.reasons)

    @property
    def excluded(self) -> int:
        """The events that do not count by the policy, and for which no person decided instead."""
        return sum(count.events - count.by_person for count in self.reasons if not count.included)


def chosen(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> SelectionChoice | None:
    """The policy that the epoch closed with; of an open one what the repo-spec names, with what is known of names now.

    None where every event counts. Raises SelectionError where what was pinned is no policy, or parts of events are kept
    that are not those that it closed with.
    """
    if epoch.pins is None:
        return with_names(ledger, scope, epoch).selection
    choice = pinned_choice(epoch.pins.pinned_spec)
    if choice is None or choice.routing is None:
        return choice
    return choice.with_shares(ledger.selection.shares(epoch))


def with_names(ledger: "PostgresLedger", scope: Scope, epoch: Epoch | None = None) -> Scope:
    """`scope` with what the ledger knows of the names of repositories, and with claims on them by their latest ones.

    For an `epoch` as `Selection.known_names` has it.
    """
    selection = scope.selection
    if selection is None and scope.claims is None:
        return scope
    routing = _known_routing(ledger, scope, epoch)
    if selection is None and routing.has_claims:
        selection = installed_policy(INCLUDE_ALL_V0).choice({}, ())
    if selection is None:
        return scope
    return replace(
        scope, selection=replace(selection, routing=routing if routing.has_claims or routing.names else None)
    )


def _known_routing(ledger: "PostgresLedger", scope: Scope, epoch: Epoch | None) -> Routing:
    written = (None if scope.selection is None else scope.selection.routing) or Routing(scope.scope_key, ())
    names = ledger.selection.known_names(epoch)
    repositories = written.repositories if scope.claims is None else scope.claims.on(scope.scope_key, names)
    return written.resolved_by(names.latest, repositories)


def decisions_of(
    choice: SelectionChoice, events: Iterable[EventToSelect], weights_milli: Mapping[str, int]
) -> dict[str, Decision]:
    """What the policy decides on `events`. Raises SelectionError where it is not installed, or facts cannot be read."""
    return decide(policy_of(choice), map(_candidate, events), choice, weights_milli)


def routed(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> SelectionChoice | None:
    """What decides on the events of an open epoch, with what the scope has of those that several scopes claim.

    None where every event counts.
    """
    choice = with_names(ledger, scope, epoch).selection
    if choice is None or choice.routing is None:
        return choice
    if not choice.routing.has_claims:
        return replace(choice, routing=replace(choice.routing, shares={}))
    events = ledger.selection.of(epoch, ()).events
    facts, first_names = ledger.selection.routing_facts(epoch), ledger.selection.first_names(epoch)
    return replace(choice, routing=_routed(choice.routing, events, facts, first_names))


def routing_of(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> Routing:
    """What the scope has of the epoch's events: as it closed, or as it would now; with names that are known."""
    choice = chosen(ledger, scope, epoch) if epoch.pins is not None else routed(ledger, scope, epoch)
    if choice is not None and choice.routing is not None:
        return choice.routing
    return _known_routing(ledger, replace(scope, claims=None, selection=None), epoch)


def _routed(
    routing: Routing,
    events: Iterable[EventToSelect],
    facts: Mapping[str, Mapping[str, Json]],
    first_names: Mapping[str, str],
) -> Routing:
    candidates = (_candidate(replace(event, facts=facts.get(event.event_id))) for event in events)
    return routing.routed(candidates, first_names)


def _rerouted(routing: Routing | None, selected: SelectedEvents) -> Routing | None:
    return None if routing is None else _routed(routing, selected.events, selected.routing_facts, selected.first_names)


def _candidate(event: EventToSelect) -> Candidate:
    return stored_candidate(
        event_id=event.event_id,
        source=event.source,
        event_type=event.event_type,
        user_id=event.user_id,
        login=event.login,
        event_time=event.event_time,
        metadata=event.metadata,
        facts=event.facts,
    )


def select_events(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> None:
    """Decide on the epoch's events anew, and store that in place of earlier decisions; nothing of a finalized epoch."""
    if epoch.status is EpochStatus.FINALIZED:
        return
    choice = routed(ledger, scope, epoch) if epoch.pins is None else chosen(ledger, scope, epoch)
    if choice is None:
        ledger.selection.replace(epoch, {})
        return
    selected = ledger.selection.of(epoch, choice.excluded_logins)
    if epoch.pins is None:
        choice = choice.with_ids(selected.excluded_ids)
    ledger.selection.replace(epoch, decisions_of(choice, selected.events, epoch.weights_milli))


def selection_report(ledger: "PostgresLedger", scope: Scope, epoch: Epoch) -> SelectionReport | None:
    """What the policy decides on the epoch's curated events, as it is stored; None without a policy."""
    choice = chosen(ledger, scope, epoch)
    if choice is None:
        return None
    return SelectionReport(choice.policy, _reason_counts(choice, ledger.selection.tallies(epoch), epoch.weights_milli))


def blocks_selection(epoch: Epoch, selected: SelectedEvents | None) -> list[str]:
    """What of the stored decisions does not follow from what the epoch closed with; empty where all does."""
    if selected is None or epoch.pins is None:
        return []
    propose = f"`ledger-pipeline allocations propose --epoch {epoch.window.key}` decides anew"
    try:
        choice = pinned_choice(epoch.pins.pinned_spec)
        if choice is None:
            return [f"a policy decided on its events, and it closed with none: {propose}"] if selected.decisions else []
        choice = choice.with_shares(selected.shares)
        decisions = decisions_of(choice, selected.events, epoch.weights_milli)
        if choice.routing not in (None, _rerouted(choice.routing, selected)):
            return [f"{_NOT_AS_CLAIMED}: {_REOPEN}"]
    except SelectionError as error:
        return [f"its selection cannot be computed: {error}"]
    if choice.routing is not None:
        strange = [name for name, latest in choice.routing.names.items() if selected.names.latest_name(name) != latest]
        if strange:
            return [f"it closed with {quoted(strange[0])} as a name of a repository that has another: {_REOPEN}"]
    made_up = sorted(set(choice.excluded_ids) - set(selected.excluded_ids))
    if made_up:
        return [
            f"it closed with excluded ids that no excluded login has: {', '.join(map(quoted, made_up[:_NAMED]))}: "
            f"{_REOPEN}"
        ]
    differing = sorted(
        event_id
        for event_id in decisions.keys() | selected.decisions.keys()
        if decisions.get(event_id) != selected.decisions.get(event_id)
    )
    if not differing:
        return []
    names = ", ".join(map(quoted, islice(differing, _NAMED)))
    return [f"{counted(len(differing), 'event')} are not decided on as its policy does, such as {names}: {propose}"]


def reason_sentences(choice: SelectionChoice) -> Mapping[str, str]:
    """One plain sentence for each reason code by which an event counts or not."""
    try:
        return {**SENTENCES, **policy_of(choice).reasons}
    except SelectionError:
        return SENTENCES  # of a policy that is not installed any more the reasons are known alone


def _reason_counts(
    choice: SelectionChoice, tallies: Iterable[SelectionTally], weights_milli: Mapping[str, int]
) -> list[ReasonCount]:
    events: defaultdict[tuple[str, bool], int] = defaultdict(int)
    by_person: defaultdict[tuple[str, bool], int] = defaultdict(int)
    moved_milli: defaultdict[tuple[str, bool], int] = defaultdict(int)
    for tally in tallies:
        key = tally.reason, tally.included
        events[key] += tally.events
        if tally.by_person:
            by_person[key] += tally.events
            continue
        plain = weights_milli.get(tally.kind, 0)
        counts_for = weighed(plain, tally.weight_factor_milli) if tally.included else 0
        moved_milli[key] += (counts_for - plain) * tally.events
    sentences = reason_sentences(choice)
    rows = [
        ReasonCount(
            reason=reason,
            sentence=sentences.get(code_of(reason), ""),
            included=included,
            events=events[reason, included],
            by_person=by_person[reason, included],
            moved_milli=moved_milli[reason, included],
        )
        for reason, included in events
    ]
    return sorted(rows, key=lambda row: (-row.events, row.reason, row.included))
