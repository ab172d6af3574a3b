"""`fair-v1`, our own policy: who did the work is paid for it once. Its settings are in `fair_settings.py`.

Each event is first judged by itself, by what its own facts say. A rule that is broken excludes it, whatever else is
unknown; of several the first in the order of RULES gives the reason. A rule whose fact is unknown pays or refuses as
`unknown` says.

What passes is then counted, in one order: merges, closed issues, other events, and reviews from the strongest state on;
within each the earliest first, a tie by the event's id. An event is passed over where the reviewer has as many reviews
of that pull request as are paid, where the contributor has as many events on that day (UTC), or where its units would
be more than the epoch's limit. A lighter one after it may still fit. So an event that does not count changes nothing
for any other, and a limit keeps what weighs most.

A pull request may be shared by its author and its co-authors, where the setting `co_authors` says so: accounts, or
e-mails that nobody has linked, by the facts of the merge. Whoever is excluded, or in `not_co_authors`, has no part; the
author is a co-author to nobody. Limits count the whole event, and for its author.

What a review's pull request was is known from the review's own facts, as they were when the review's epoch closed. A
merge in a later epoch changes nothing of an earlier one. Reviews of one pull request in two epochs are counted in each.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import ClassVar

from ledger_pipeline.core.claimants import account_of
from ledger_pipeline.core.facts import USER, Account, IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.selection.fair_settings import (
    DEFAULT_SETTINGS,
    FAIR_V1,
    LATER_SETTINGS,
    NEVER,
    WITH_LINE_COMMENTS,
    FairSettings,
    fair_settings,
)
from ledger_pipeline.core.selection.policy import (
    Candidate,
    Decision,
    SelectionSpec,
    excluded_accounts,
    is_excluded,
    shared_factor_milli,
)
from ledger_pipeline.core.selection.reasons import SENTENCES, Reason
from ledger_pipeline.core.sources import ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED
from ledger_pipeline.core.weights import weighed

COMMENTED = "COMMENTED"
STRONGEST_FIRST = ("APPROVED", "CHANGES_REQUESTED", COMMENTED, "DISMISSED")
"""An approval puts a name to the result; a request for changes comes next, for it was read; others come after these."""


class Fair:
    """Our own policy: only what goes into the default branch, and nobody twice for the same."""

    name = FAIR_V1
    version = "1"
    default_settings: ClassVar[Mapping[str, Json]] = DEFAULT_SETTINGS
    later_settings: ClassVar[Mapping[str, Json]] = LATER_SETTINGS
    reasons: ClassVar[Mapping[str, str]] = {
        reason: sentence
        for reason, sentence in SENTENCES.items()
        if reason
        not in (
            Reason.OTHER_KIND,
            Reason.NOT_INTO_MAIN,
            Reason.INTO_MAIN,
            Reason.NOT_PROMOTED,
            Reason.PULL_REQUEST_NOT_SELECTED,
            Reason.COMMITS_UNKNOWN,
        )
    }

    def decide(self, candidates: Sequence[Candidate], spec: SelectionSpec) -> Mapping[str, Decision]:
        """A decision for each event. Raises SelectionError for a setting that is wrong."""
        settings = fair_settings(spec.settings)
        refs = frozenset(ref.lower() for ref in spec.source_refs)
        logins, ids = excluded_accounts(spec)
        limits = _Limits(settings, spec.weights_milli)
        decisions: dict[str, Decision] = {}
        for event in sorted(candidates, key=_counted_order):
            if refs and event.repository.lower() not in refs:
                decision = Decision(included=False, reason=Reason.OTHER_REPOSITORY)
            elif is_excluded(event, logins, ids):
                decision = Decision(included=False, reason=Reason.EXCLUDED_ACCOUNT)
            else:
                decision = _judged(event, settings)
            decision = limits.counted(event, decision) if decision.included else decision
            co_authors = _co_authors(event, settings, ids)
            decisions[event.event_id] = replace(decision, co_authors=co_authors) if co_authors else decision
        return decisions


class _Limits:
    """What has been counted so far, and what has no more place beside it."""

    def __init__(self, settings: FairSettings, weights_milli: Mapping[str, int]) -> None:
        self._settings = settings
        self._weights = weights_milli
        self._reviews: defaultdict[tuple[str, str, object], int] = defaultdict(int)
        self._events: defaultdict[tuple[str, date], int] = defaultdict(int)
        self._units: defaultdict[str, int] = defaultdict(int)

    def counted(self, event: Candidate, decision: Decision) -> Decision:
        """The decision, once the event is counted; that it is excluded, where it has no place any more."""
        settings = self._settings
        # A review without a number is of a pull request of its own.
        of = (event.user_id, event.repository.lower(), event.event_id if event.number is None else event.number)
        day = (event.user_id, event.event_time.date())
        weight = self._weights.get(event.kind, 0)
        units = weighed(weight, shared_factor_milli(event, decision.weight_factor_milli, weight))
        is_review = event.event_type == REVIEW_SUBMITTED
        if is_review and _is_full(self._reviews[of] + 1, settings.reviews_per_pull_request):
            return Decision(included=False, reason=Reason.REPEATED_REVIEW)
        if _is_full(self._events[day] + 1, settings.events_per_day):
            return Decision(included=False, reason=Reason.OVER_EVENTS_PER_DAY)
        if _is_full(self._units[event.user_id] + units, settings.units_milli_per_epoch):
            return Decision(included=False, reason=Reason.OVER_UNITS_PER_EPOCH)
        self._reviews[of] += is_review
        self._events[day] += 1
        self._units[event.user_id] += units
        return decision


def _co_authors(event: Candidate, settings: FairSettings, excluded_ids: frozenset[str]) -> tuple[str, ...]:
    """The keys of the accounts that share a pull request with its author, in code-point order."""
    if not settings.shares_with_co_authors or not isinstance(event.facts, PullRequestFacts):
        return ()
    others = (co_author for co_author in event.facts.co_authors or () if co_author not in settings.not_co_authors)
    return tuple(
        sorted(
            {
                account_of(event.source, co_author).key
                for co_author in others
                if co_author.id is None or (co_author.id != event.user_id and co_author.id not in excluded_ids)
            }
        )
    )


def _is_full(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit


def _counted_order(event: Candidate) -> tuple[int, int, object, str]:
    kind = {PR_MERGED: 0, ISSUE_CLOSED: 1, REVIEW_SUBMITTED: 3}.get(event.event_type, 2)
    strength = STRONGEST_FIRST.index(event.state) if event.state in STRONGEST_FIRST else len(STRONGEST_FIRST)
    return kind, strength if kind == 3 else 0, event.event_time, event.event_id


def _judged(event: Candidate, settings: FairSettings) -> Decision:
    """The decision on an event by itself."""
    rules = RULES.get(event.event_type)
    if rules is None:
        return Decision(included=True, reason=Reason.NO_RULE)
    paid, refused = None, None
    for name, unknown, rule in rules:
        reason = rule(event, settings)
        if reason is None:
            continue
        if reason is not unknown:
            return Decision(included=False, reason=reason)
        if name in settings.refused_unknown:
            refused = refused or reason
        else:
            paid = paid or reason
    if refused is not None:
        return Decision(included=False, reason=refused)
    factor = _factor(event, settings)
    return Decision(
        included=True,
        reason=paid or (Reason.INCLUDED if factor is None else Reason.LABEL_WEIGHT),
        weight_factor_milli=factor,
    )


def _factor(event: Candidate, settings: FairSettings) -> int | None:
    if not settings.label_weights_milli:
        return None
    labels = _labels(event) or ()
    factors = [settings.label_weights_milli.get(label) for label in labels]
    return max((factor for factor in factors if factor is not None), default=None)


def _branch(event: Candidate, settings: FairSettings) -> Reason | None:
    facts = event.facts if isinstance(event.facts, PullRequestFacts | ReviewFacts) else PullRequestFacts()
    if settings.wants_default_branch:
        matches = facts.is_base_default
    elif settings.base_branches is None:
        matches = True
    else:
        matches = None if facts.base_branch is None else facts.base_branch in settings.base_branches
    if matches is None:
        return Reason.BASE_BRANCH_UNKNOWN
    return None if matches else Reason.OTHER_BRANCH


def _label(event: Candidate, settings: FairSettings) -> Reason | None:
    if not settings.has_label_rules:
        return None
    labels = _labels(event)
    if labels is None:
        return Reason.LABELS_UNKNOWN
    if not settings.exclude_labels.isdisjoint(labels):
        return Reason.EXCLUDED_LABEL
    lacks_all = bool(settings.include_labels) and settings.include_labels.isdisjoint(labels)
    return Reason.LABEL_MISSING if lacks_all else None


def _labels(event: Candidate) -> list[str] | None:
    labels = None if event.facts is None else event.facts.labels
    return None if labels is None else [label.lower() for label in labels]


def _own(event: Candidate, settings: FairSettings) -> Reason | None:
    if settings.own_reviews:
        return None
    is_own = _is_by(event, _review_facts(event).pull_request_author)
    if is_own is None:
        return Reason.PULL_REQUEST_AUTHOR_UNKNOWN
    return Reason.OWN_PULL_REQUEST if is_own else None


def _is_by(event: Candidate, author: Account | None) -> bool | None:
    """Whether `author` is who did the event; None where nobody can tell."""
    if author is None:
        return None
    if author.id is not None:
        return author.id == event.user_id
    if author.type not in (None, USER):
        return False  # only users are paid: no account that is gone, and no other kind, is one of them
    # Two logins may have been one account's.
    return True if author.login is not None and author.login.lower() == event.login.lower() else None


def _merged(event: Candidate, settings: FairSettings) -> Reason | None:
    if not settings.merged_only:
        return None
    is_merged = _review_facts(event).is_merged
    if is_merged is None:
        return Reason.MERGE_UNKNOWN
    return None if is_merged else Reason.NOT_MERGED


def _body(event: Candidate, settings: FairSettings) -> Reason | None:
    if event.state != COMMENTED or settings.comments_without_body not in (NEVER, WITH_LINE_COMMENTS):
        return None
    facts = _review_facts(event)
    says_something = facts.has_body
    if not says_something and settings.comments_without_body == WITH_LINE_COMMENTS:
        if facts.comment_count:
            says_something = True
        elif facts.comment_count is None:
            says_something = None
    if says_something is None:
        return Reason.BODY_UNKNOWN
    return None if says_something else Reason.COMMENT_WITHOUT_BODY


def _review_facts(event: Candidate) -> ReviewFacts:
    return event.facts if isinstance(event.facts, ReviewFacts) else ReviewFacts()


def _state_reason(event: Candidate, settings: FairSettings) -> Reason | None:
    if settings.state_reasons is None:
        return None
    reason = event.facts.state_reason if isinstance(event.facts, IssueFacts) else None
    if reason is None:
        return Reason.STATE_REASON_UNKNOWN
    return None if reason in settings.state_reasons else Reason.NOT_COMPLETED


_Rule = tuple[str, Reason, Callable[[Candidate, FairSettings], Reason | None]]

_BRANCH: _Rule = ("base_branch", Reason.BASE_BRANCH_UNKNOWN, _branch)
_LABEL: _Rule = ("labels", Reason.LABELS_UNKNOWN, _label)

RULES: Mapping[str, tuple[_Rule, ...]] = {
    PR_MERGED: (_BRANCH, _LABEL),
    REVIEW_SUBMITTED: (
        _BRANCH,
        _LABEL,
        ("pull_request_author", Reason.PULL_REQUEST_AUTHOR_UNKNOWN, _own),
        ("merged", Reason.MERGE_UNKNOWN, _merged),
        ("body", Reason.BODY_UNKNOWN, _body),
    ),
    ISSUE_CLOSED: (_LABEL, ("state_reason", Reason.STATE_REASON_UNKNOWN, _state_reason)),
}
"""The rules for each kind of event, in the order in which they give the reason; the account comes before them."""
