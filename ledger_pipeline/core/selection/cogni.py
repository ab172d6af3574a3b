"""The policies of the system we join, as it computes them: decisions must equal its own.

They look at the epoch's own pull requests alone: a review follows its pull request only where both are of one epoch. So
a pull request of an excluded account still carries its reviews, and its commits still promote others: unlike with
fair-v1, an event that does not count may decide on others.

What is unknown does not count, for there it is the same as absent, and has a reason code of its own here.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ledger_pipeline.core.facts import PullRequestFacts
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.selection.policy import Candidate, Decision, SelectionSpec, excluded_accounts, is_excluded
from ledger_pipeline.core.selection.reasons import Reason, sentences_of
from ledger_pipeline.core.sources import PR_MERGED, REVIEW_SUBMITTED

MAIN_MERGE_V0 = "cogni.main-merge-selection.v0"
PROMOTION_V0 = "cogni.promotion-selection.v0"

_MAIN = "main"

_Verdicts = Mapping[tuple[str, int | None], Reason]


class MainMerge:
    """A pull request counts where its base branch is `main`, and its reviews count with it; nothing else does.

    `source_refs` filters by repository where it is not empty; an excluded account's events never count.
    """

    name = MAIN_MERGE_V0
    version = "0"
    default_settings: ClassVar[Mapping[str, Json]] = {}
    reasons: ClassVar[Mapping[str, str]] = sentences_of(
        Reason.INCLUDED,
        Reason.EXCLUDED_ACCOUNT,
        Reason.OTHER_REPOSITORY,
        Reason.OTHER_KIND,
        Reason.NOT_INTO_MAIN,
        Reason.BASE_BRANCH_UNKNOWN,
        Reason.PULL_REQUEST_NOT_SELECTED,
    )

    def decide(self, candidates: Sequence[Candidate], spec: SelectionSpec) -> Mapping[str, Decision]:
        """A decision for each event."""
        refs = frozenset(ref.lower() for ref in spec.source_refs)
        verdicts = {_key(event): self._verdict(event, refs) for event in _pull_requests(candidates)}
        return _decisions(candidates, verdicts, spec)

    def _verdict(self, event: Candidate, refs: frozenset[str]) -> Reason:
        if refs and event.repository.lower() not in refs:
            return Reason.OTHER_REPOSITORY
        base = _facts(event).base_branch
        if base is None:
            return Reason.BASE_BRANCH_UNKNOWN
        return Reason.INCLUDED if base == _MAIN else Reason.NOT_INTO_MAIN


class Promotion:
    """A pull request that went not into `main` counts where one into main has its merge commit among its own commits.

    Its reviews count with it; nothing else does. `source_refs` filters nothing: what is promoted may come from any
    repository of the epoch. An excluded account's events never count.
    """

    name = PROMOTION_V0
    version = "0"
    default_settings: ClassVar[Mapping[str, Json]] = {}
    reasons: ClassVar[Mapping[str, str]] = sentences_of(
        Reason.INCLUDED,
        Reason.EXCLUDED_ACCOUNT,
        Reason.OTHER_KIND,
        Reason.INTO_MAIN,
        Reason.NOT_PROMOTED,
        Reason.BASE_BRANCH_UNKNOWN,
        Reason.COMMITS_UNKNOWN,
        Reason.PULL_REQUEST_NOT_SELECTED,
    )

    def decide(self, candidates: Sequence[Candidate], spec: SelectionSpec) -> Mapping[str, Decision]:
        """A decision for each event."""
        merged = [(event, _facts(event)) for event in _pull_requests(candidates)]
        into_main = [facts.commit_shas for _, facts in merged if facts.base_branch == _MAIN]
        promoted = frozenset(sha for shas in into_main for sha in shas or ())
        all_known = None not in into_main
        verdicts = {_key(event): self._verdict(facts, promoted, all_known=all_known) for event, facts in merged}
        return _decisions(candidates, verdicts, spec)

    def _verdict(self, facts: PullRequestFacts, promoted: frozenset[str], *, all_known: bool) -> Reason:
        if facts.base_branch is None:
            return Reason.BASE_BRANCH_UNKNOWN
        if facts.base_branch == _MAIN:
            return Reason.INTO_MAIN
        if facts.merge_commit_sha in promoted:
            return Reason.INCLUDED
        return Reason.NOT_PROMOTED if all_known and facts.merge_commit_sha is not None else Reason.COMMITS_UNKNOWN


def _decisions(candidates: Sequence[Candidate], verdicts: _Verdicts, spec: SelectionSpec) -> dict[str, Decision]:
    """Decisions that follow from what is said of each pull request, by repository and number."""
    logins, ids = excluded_accounts(spec)
    decisions: dict[str, Decision] = {}
    for event in candidates:
        if event.event_type not in (PR_MERGED, REVIEW_SUBMITTED):
            reason = Reason.OTHER_KIND
        elif is_excluded(event, logins, ids):
            reason = Reason.EXCLUDED_ACCOUNT
        else:
            reason = verdicts.get(_key(event), Reason.PULL_REQUEST_NOT_SELECTED)
            if event.event_type == REVIEW_SUBMITTED and reason is not Reason.INCLUDED:
                reason = Reason.PULL_REQUEST_NOT_SELECTED
        decisions[event.event_id] = Decision(included=reason is Reason.INCLUDED, reason=reason)
    return decisions


def _pull_requests(candidates: Sequence[Candidate]) -> list[Candidate]:
    # Sorted, so that of two with one number, which no source tells, it is always the same one that decides.
    return sorted((event for event in candidates if event.event_type == PR_MERGED), key=lambda event: event.event_id)


def _key(event: Candidate) -> tuple[str, int | None]:
    return event.repository.lower(), event.number


def _facts(event: Candidate) -> PullRequestFacts:
    return event.facts if isinstance(event.facts, PullRequestFacts) else PullRequestFacts()
