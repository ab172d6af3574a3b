"""What a selection policy is: pinned facts of an epoch's events and the spec in, a decision for each event out.

A policy is pure: it looks at its arguments and at nothing else, and the order of events never matters to it. It has a
name and a version, which are pinned; the same version decides the same for ever.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from ledger_pipeline.core.allocations import event_kind
from ledger_pipeline.core.claimants import is_account_key
from ledger_pipeline.core.errors import FactsError, SelectionError
from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Facts, facts_from_json
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.sources import REVIEW_SUBMITTED
from ledger_pipeline.core.weights import weighed

WHOLE_MILLI = 1000
_REPOSITORY = "repository"


class Part(NamedTuple):
    """One of `among` equal parts, by its place from 0: the first ones have what is left over."""

    place: int
    among: int

    def of(self, whole: int) -> int:
        """How much of `whole` it is; all parts sum to that."""
        return whole // self.among + (self.place < whole % self.among)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event that may count, and the facts of it that were pinned; None where nobody observed any.

    `repository` is `owner/repo` as the source spelled it; `number` is the pull request's or the issue's, None for an
    event that has none. `state` is a review's. `event_time` is aware, UTC. `share_milli` is what the scope has of an
    event that several scopes share, of WHOLE_MILLI, and `part` which of their parts; None in epochs of before.
    """

    event_id: str
    source: str
    event_type: str
    repository: str
    number: int | None
    user_id: str
    login: str
    state: str | None
    event_time: datetime
    facts: Facts | None
    share_milli: int = WHOLE_MILLI
    part: Part | None = None

    @property
    def kind(self) -> str:
        """How weights name this kind of event."""
        return event_kind(self.source, self.event_type)


@dataclass(frozen=True)
class Decision:
    """Whether an event counts, and why: a code of the policy's `reasons`.

    `weight_factor_milli` is what its weight is multiplied by (1000: once), None where nothing says so. `co_authors` are
    the keys of accounts (`core.claimants`) that have a part of it beside whoever did it, in code-point order, whether
    it counts or not: a person may count it.
    """

    included: bool
    reason: str
    weight_factor_milli: int | None = None
    co_authors: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelectionSpec:
    """What the spec says that a policy may decide by, pinned with the epoch.

    `settings` are the policy's own. `source_refs` are the repositories that count, all of them where it is empty.
    `excluded_logins` count for nothing, and neither do `excluded_ids`: the numeric ids, as decimal strings, that those
    logins had when they were first seen (`ids_of_logins`), so that a rename lifts nothing.
    """

    weights_milli: Mapping[str, int]
    settings: Mapping[str, Json] = field(default_factory=dict)
    source_refs: Sequence[str] = ()
    excluded_logins: Sequence[str] = ()
    excluded_ids: Sequence[str] = ()


class SelectionPolicy(Protocol):
    """A named, versioned, pure way to decide which events of an epoch count."""

    @property
    def name(self) -> str:
        """How the spec names it."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever any decision may."""
        ...

    @property
    def default_settings(self) -> Mapping[str, Json]:
        """Every setting there is, with what holds where the spec does not say."""
        ...

    @property
    def reasons(self) -> Mapping[str, str]:
        """Every reason code that it gives, with one plain sentence."""
        ...

    def decide(self, candidates: Sequence[Candidate], spec: SelectionSpec) -> Mapping[str, Decision]:
        """A decision for each event, by its id. Raises SelectionError for a setting that is wrong."""
        ...


def later_settings(policy: SelectionPolicy) -> Mapping[str, Json]:
    """Settings that a policy got once epochs had closed with it, with what holds where the spec does not say.

    They are pinned only where they say something else, so that what closed without them is of the same settings.
    """
    later: Mapping[str, Json] = getattr(policy, "later_settings", {})
    return later


def candidate(event: ActivityEvent, facts: Facts | None) -> Candidate:
    """An event with what is known beside it."""
    return _candidate(
        event.id,
        event.source,
        event.event_type,
        event.platform_user_id,
        event.platform_login,
        event.event_time,
        {**event.metadata, _REPOSITORY: event.source_scope},
        facts,
    )


def stored_candidate(
    *,
    event_id: str,
    source: str,
    event_type: str,
    user_id: str,
    login: str,
    event_time: datetime,
    metadata: Mapping[str, Json],
    facts: Mapping[str, Json] | None,
) -> Candidate:
    """An event as the ledger or an archive holds it, with its pinned facts as JSON. Raises SelectionError for facts
    that cannot be read."""
    read = None if facts is None else stored_facts(event_id, event_type, facts)
    return _candidate(event_id, source, event_type, user_id, login, event_time, metadata, read)


def stored_facts(event_id: str, event_type: str, facts: Json) -> Facts:
    """Pinned facts of an event. Raises SelectionError, which names the event, where they cannot be read."""
    try:
        return facts_from_json(event_type, facts)
    except FactsError as error:
        raise SelectionError(f"the facts of {short_message(event_id)} cannot be read: {error}") from error


def _candidate(
    event_id: str,
    source: str,
    event_type: str,
    user_id: str,
    login: str,
    event_time: datetime,
    metadata: Mapping[str, Json],
    facts: Facts | None,
) -> Candidate:
    repository, number, state = metadata.get(_REPOSITORY), metadata.get("number"), metadata.get("state")
    return Candidate(
        event_id=event_id,
        source=source,
        event_type=event_type,
        repository=repository if isinstance(repository, str) else "",
        number=number if isinstance(number, int) else None,
        user_id=user_id,
        login=login,
        state=state if event_type == REVIEW_SUBMITTED and isinstance(state, str) else None,
        event_time=event_time,
        facts=facts,
    )


def select(policy: SelectionPolicy, candidates: Iterable[Candidate], spec: SelectionSpec) -> dict[str, Decision]:
    """What `policy` decides, by event id in code-point order, once it is seen to be a decision for each event alone.

    Raises SelectionError for a wrong setting, and for a policy that does not keep its promise.
    """
    events = sorted(candidates, key=lambda event: event.event_id)
    ids = [event.event_id for event in events]
    if len(set(ids)) != len(ids):
        raise SelectionError("an event is given to the selection twice")
    default_settings = {**policy.default_settings, **later_settings(policy)}
    for name in spec.settings:
        if name not in default_settings:
            setting_names = ", ".join(default_settings) or "none"
            raise SelectionError(
                f"selection policy {policy.name} has no setting {quoted(name)}: it has {setting_names}"
            )
    decisions = policy.decide(events, spec)
    if decisions.keys() != set(ids):
        raise SelectionError(f"selection policy {policy.name} does not decide on exactly the events that it was given")
    for event_id, decision in decisions.items():
        factor = decision.weight_factor_milli
        if decision.reason not in policy.reasons or (factor is not None and factor < 0):
            raise SelectionError(
                f"selection policy {policy.name} decides on {short_message(event_id)} by a reason or a factor that it "
                f"must not have: {quoted(str(decision.reason))}, {factor}"
            )
        _check_co_authors(policy, event_id, decision.co_authors)
    return {event_id: decisions[event_id] for event_id in ids}


def _check_co_authors(policy: SelectionPolicy, event_id: str, co_authors: Sequence[str]) -> None:
    if list(co_authors) != sorted(set(co_authors)) or not all(map(is_account_key, co_authors)):
        raise SelectionError(
            f"selection policy {policy.name} shares {short_message(event_id)} with what are no accounts, each once and "
            f"in order: {quoted(', '.join(map(str, co_authors)))}"
        )


def units_of(event: Candidate, decision: Decision, weights_milli: Mapping[str, int]) -> int:
    """The milli-units that an event is worth by a decision, rounded down: none where it is not included."""
    return weighed(weights_milli.get(event.kind, 0), decision.weight_factor_milli) if decision.included else 0


def shared_factor_milli(event: Candidate, factor_milli: int | None, weight_milli: int) -> int | None:
    """What the weight of an event is multiplied by for the part that the scope has of it.

    What all parts come to is what the whole event is worth, where its kind weighs whole units or less than one; of
    other weights each part is rounded down. Epochs that closed before there were parts round all down.
    """
    if event.share_milli == WHOLE_MILLI:
        return factor_milli
    whole_factor = WHOLE_MILLI if factor_milli is None else factor_milli
    if event.part is None:
        return whole_factor * event.share_milli // WHOLE_MILLI
    if 0 < weight_milli < WHOLE_MILLI:
        part_milli = event.part.of(weighed(weight_milli, factor_milli))
        return -(-part_milli * WHOLE_MILLI // weight_milli)
    return event.part.of(whole_factor)


def is_excluded(event: Candidate, logins: frozenset[str], ids: frozenset[str]) -> bool:
    """Whether the account that did it is excluded, by `logins` in lower case or by its numeric id."""
    return event.user_id in ids or event.login.lower() in logins


def excluded_accounts(spec: SelectionSpec) -> tuple[frozenset[str], frozenset[str]]:
    """The spec's excluded logins, in lower case as GitHub compares them, and ids."""
    return frozenset(login.lower() for login in spec.excluded_logins), frozenset(spec.excluded_ids)


def ids_of_logins(seen: Iterable[tuple[str, str]], excluded_logins: Iterable[str]) -> tuple[str, ...]:
    """The numeric ids of accounts that have, or ever had, one of `excluded_logins`, sorted as text.

    `seen` is every (login, numeric id) that events tell. Whoever pins a spec resolves its logins by this once, so that
    a policy itself never concludes from one event to another.
    """
    logins = {login.lower() for login in excluded_logins}
    return tuple(sorted({user_id for login, user_id in seen if login.lower() in logins}))
