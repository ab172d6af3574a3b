"""Events that a policy decides on, in one line each, and those of a recording."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.facts import Account, Facts, IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.selection.fair import Fair
from ledger_pipeline.core.selection.policy import Candidate, Decision, SelectionPolicy, SelectionSpec, select, units_of
from ledger_pipeline.core.sources import ISSUE_CLOSED, PR_MERGED, REVIEW_SUBMITTED
from ledger_pipeline_tests.builders import DEFAULT_WEIGHTS_MILLI, NOON, REPO

ADA, BO, CY = "1", "2", "3"
LOGINS = {ADA: "ada", BO: "bo", CY: "cy"}
FAIR = Fair()
INTO_DEFAULT = PullRequestFacts(base_branch="main", is_base_default=True, labels=())
READ = ReviewFacts(
    pull_request_author=Account(id=ADA, login="ada", type="User"),
    base_branch="main",
    is_base_default=True,
    is_merged=False,
    labels=(),
    has_body=True,
    comment_count=0,
)
COMPLETED = IssueFacts(state_reason="COMPLETED", labels=())


def event(
    event_id: str,
    event_type: str,
    facts: Facts | None,
    *,
    by: str = ADA,
    number: int | None = 1,
    state: str | None = None,
    hours: int = 0,
    repository: str = REPO,
    login: str | None = None,
) -> Candidate:
    """An event `hours` after noon."""
    return Candidate(
        event_id=event_id,
        source="github",
        event_type=event_type,
        repository=repository,
        number=number,
        user_id=by,
        login=login or LOGINS[by],
        state=state,
        event_time=parse_instant(NOON) + timedelta(hours=hours),
        facts=facts,
    )


def merge(event_id: str = "p", facts: Facts | None = INTO_DEFAULT, **more: Any) -> Candidate:
    """A merged pull request of Ada's."""
    return event(event_id, PR_MERGED, facts, **more)


def review(event_id: str = "r", facts: Facts | None = READ, **more: Any) -> Candidate:
    """Bo's approval of Ada's pull request."""
    return event(event_id, REVIEW_SUBMITTED, facts, **{"by": BO, "state": "APPROVED", **more})


def issue(event_id: str = "i", facts: Facts | None = COMPLETED, **more: Any) -> Candidate:
    """An issue of Ada's."""
    return event(event_id, ISSUE_CLOSED, facts, **more)


def decided(
    *events: Candidate,
    policy: SelectionPolicy = FAIR,
    settings: Mapping[str, Json] | None = None,
    weights_milli: Mapping[str, int] = DEFAULT_WEIGHTS_MILLI,
    **spec: Any,
) -> dict[str, Decision]:
    """What the policy decides, by event id."""
    return select(policy, events, SelectionSpec(weights_milli, settings or {}, **spec))


def reasons(*events: Candidate, **more: Any) -> dict[str, str]:
    """The reason of each decision: with a `+` before it where the event counts."""
    return {
        event_id: f"{'+' if decision.included else ''}{decision.reason}"
        for event_id, decision in decided(*events, **more).items()
    }


def units(
    events: Sequence[Candidate], decisions: Mapping[str, Decision], weights_milli: Mapping[str, int]
) -> dict[str, int]:
    """Milli-units by contributor."""
    by_user: dict[str, int] = {}
    for candidate in events:
        worth = units_of(candidate, decisions[candidate.event_id], weights_milli)
        by_user[candidate.user_id] = by_user.get(candidate.user_id, 0) + worth
    return by_user


class Recording:
    """A folder of recorded GraphQL activity. A null is unknown; a login's id is taken from wherever it is known."""

    def __init__(self, folder: Path, default_branch: str) -> None:
        self.pull_requests, self.reviews, self.issues = (
            _rows(folder / f"{name}.jsonl") for name in ("pull_requests", "reviews", "issues")
        )
        self._default_branch = default_branch
        people = [row["author"] for row in (*self.pull_requests, *self.reviews, *self.issues) if row["author"]]
        self._ids = {who["login"]: str(who["databaseId"]) for who in people if who["databaseId"] is not None}

    def candidates(self) -> list[Candidate]:
        """What would be events: of users alone."""
        by_number = {row["number"]: row for row in self.pull_requests}
        return [
            *(
                self._candidate(f"pr:{row['number']}", PR_MERGED, row, "mergedAt", self._pull_request(row))
                for row in self.pull_requests
                if row["mergedAt"] and is_user(row["author"])
            ),
            *(
                self._candidate(
                    f"review:{n}", REVIEW_SUBMITTED, row, "submittedAt", self._review(by_number.get(row["number"]))
                )
                for n, row in enumerate(self.reviews)
                if row["submittedAt"] and is_user(row["author"])
            ),
            *(
                self._candidate(f"issue:{row['number']}", ISSUE_CLOSED, row, "closedAt", self._issue(row))
                for row in self.issues
                if row["closedAt"] and is_user(row["author"])
            ),
        ]

    def _candidate(self, event_id: str, event_type: str, row: dict[str, Any], time: str, facts: Facts) -> Candidate:
        account = self._account(row["author"])
        assert account is not None
        return Candidate(
            event_id,
            "github",
            event_type,
            row["repo"],
            row["number"],
            account.id or "",
            account.login or "",
            row["state"] if event_type == REVIEW_SUBMITTED else None,
            parse_instant(row[time]),
            facts,
        )

    def _pull_request(self, row: dict[str, Any]) -> PullRequestFacts:
        base = row["baseRefName"]
        return PullRequestFacts(
            author=self._account(row["author"]),
            base_branch=base,
            is_base_default=None if base is None else base == self._default_branch,
            merge_commit_sha=row["mergeCommit"],
            labels=_tuple(row["labels"]),
            is_draft=row["isDraft"],
            merged_by=self._account(row["mergedBy"]),
            changed_paths=_tuple(row["files"]),
        )

    def _review(self, pull_request: dict[str, Any] | None) -> ReviewFacts:
        if pull_request is None:
            return ReviewFacts()
        of = self._pull_request(pull_request)
        return ReviewFacts(
            pull_request_author=of.author or Account(type="Deleted"),
            base_branch=of.base_branch,
            is_base_default=of.is_base_default,
            is_merged=pull_request["mergedAt"] is not None,
            labels=of.labels,
        )

    def _issue(self, row: dict[str, Any]) -> IssueFacts:
        return IssueFacts(self._account(row["closedBy"]), None, row["stateReason"], _tuple(row["labels"]))

    def _account(self, who: dict[str, Any] | None) -> Account | None:
        if who is None:
            return None
        login = who["login"]
        user_id = str(who["databaseId"]) if who["databaseId"] is not None else self._ids.get(login, f"id of {login}")
        return Account(user_id, login, who["type"])


def is_user(who: dict[str, Any] | None) -> bool:
    """Whether a recorded author is a user; of some nobody recorded the type."""
    return who is not None and (who["type"] or "User") == "User" and not who["login"].endswith("[bot]")


def _rows(file: Path) -> list[dict[str, Any]]:
    return list(_read(file)) if file.exists() else []


def _read(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
