"""Recorded activity, JSON Lines as GitHub's API answered it, as a world.

A null in a recording is a fact it does not have: ids, authors' types and times are then made up, the same every
time. An `author` that is null as a whole is a fact: the account was deleted. Reviews of pull requests that are not
in the recording are left out, as GitHub can serve a review only through its pull request.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.sources.simulator.made_up import IdBook, stable_number
from ledger_pipeline.sources.simulator.world import (
    Actor,
    ActorKind,
    Closure,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewState,
    StateReason,
    World,
)

Row = dict[str, Any]
Made = TypeVar("Made")

_BOT_SUFFIX = "[bot]"


class RecordingError(ValueError):
    """A line of a recording cannot be read; the message names file and line."""


def load_recording(folder: Path) -> World:
    """The world that the folder's pull_requests.jsonl, reviews.jsonl and issues.jsonl tell of."""
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder of recordings")
    return _Recording(folder).world()


class _Recording:
    def __init__(self, folder: Path) -> None:
        self._pull_requests = _Rows(folder / "pull_requests.jsonl")
        self._reviews = _Rows(folder / "reviews.jsonl")
        self._issues = _Rows(folder / "issues.jsonl")
        self._ids = IdBook()
        self._people: dict[str, Actor] = {}

    def world(self) -> World:
        self._claim_known_ids()
        reviews: dict[tuple[str, int], list[Review]] = defaultdict(list)
        for name, number, review in self._reviews.read(self._review):
            reviews[name, number].append(review)
        pull_requests: dict[str, list[PullRequest]] = defaultdict(list)
        read = self._pull_requests.read(lambda row: self._pull_request(row, reviews[row["repo"], row["number"]]))
        for name, _, pull_request in read:
            pull_requests[name].append(pull_request)
        issues: dict[str, list[Issue]] = defaultdict(list)
        for name, _, issue in self._issues.read(self._issue):
            issues[name].append(issue)
        names = sorted({*pull_requests, *issues})
        return World(
            tuple(
                Repository(
                    name,
                    stable_number("repository", name.lower()) % 2**31,
                    tuple(pull_requests[name]),
                    tuple(issues[name]),
                    default_branch=_usual_base(pull_requests[name]),
                )
                for name in names
            )
        )

    def _claim_known_ids(self) -> None:
        """Known facts first: an author's id may be null in one line and known in the next."""
        for kind, rows in (("pr", self._pull_requests), ("review", self._reviews), ("issue", self._issues)):
            for row in rows:
                if row.get("databaseId") is not None:
                    self._ids.claim(kind, row["databaseId"])
                for who in (row.get("author"), row.get("mergedBy"), row.get("closedBy")):
                    if who is not None and who.get("databaseId") is not None:
                        self._ids.claim("user", who["databaseId"])
                        actor = Actor(_login(who), who["databaseId"], _kind(who))
                        self._people.setdefault(who["login"], actor)

    def _pull_request(self, row: Row, reviews: list[Review]) -> PullRequest:
        merged_at, closed_at = _time(row["mergedAt"]), _time(row["closedAt"])
        return PullRequest(
            number=row["number"],
            database_id=self._object_id("pr", row, row["repo"], row["number"]),
            title=row["title"],
            author=self._actor(row["author"]),
            created_at=_first_known(_time(row["createdAt"]), merged_at, closed_at, _time(row["updatedAt"])),
            closed_at=closed_at if closed_at is not None else merged_at,
            merged_at=merged_at,
            merged_by=self._actor(row["mergedBy"]),
            touched_at=_touched(row),
            labels=_names(row["labels"]),
            files=_names(row["files"]),
            changed_files=row["changedFiles"] if row["changedFiles"] is not None else len(row["files"] or ()),
            additions=row["additions"] or 0,
            deletions=row["deletions"] or 0,
            merge_commit=row["mergeCommit"],
            base_ref_name=row["baseRefName"] or "main",
            is_draft=bool(row["isDraft"]),
            reviews=tuple(reviews),
        )

    def _review(self, row: Row) -> Review:
        author = self._actor(row["author"])
        login = None if author is None else author.login
        return Review(
            database_id=self._object_id("review", row, row["repo"], row["number"], login, row["submittedAt"]),
            author=author,
            submitted_at=_time(row["submittedAt"]),
            state=ReviewState(row["state"]),
            edited_at=_time(row["updatedAt"]),
            commit=row["commit"],
            body="not recorded",
        )

    def _issue(self, row: Row) -> Issue:
        closed_at = _time(row["closedAt"])
        created_at = _first_known(_time(row["createdAt"]), closed_at, _time(row["updatedAt"]))
        reason = StateReason(row["stateReason"] or StateReason.COMPLETED)
        closures: tuple[Closure, ...] = ()
        if closed_at is not None:
            closures = (Closure(closed_at, reason, closed_by=self._actor(row["closedBy"])),)
        elif reason is StateReason.REOPENED:
            # Closed and opened again at times the recording does not have.
            closures = (Closure(created_at, reopened_at=created_at),)
        return Issue(
            number=row["number"],
            database_id=self._object_id("issue", row, row["repo"], row["number"]),
            title=row["title"],
            author=self._actor(row["author"]),
            created_at=created_at,
            closures=closures,
            touched_at=_touched(row),
            labels=_names(row["labels"]),
        )

    def _object_id(self, kind: str, row: Row, *parts: object) -> int:
        database_id: int | None = row["databaseId"]
        return database_id if database_id is not None else self._ids.object_id(kind, *parts)

    def _actor(self, row: Row | None) -> Actor | None:
        if row is None:
            return None
        login: str = row["login"]
        if row["databaseId"] is not None and row["type"] is not None:
            # Not by login: one has belonged to two accounts in these recordings.
            return Actor(_login(row), row["databaseId"], _kind(row))
        if login not in self._people:
            self._people[login] = Actor(_login(row), row["databaseId"] or self._ids.user_id(login), _kind(row))
        return self._people[login]


class _Rows:
    """The lines of one file; whatever is wrong with one is reported with its place."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[Row] = []
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        for line_number, line in enumerate(lines, start=1):
            try:
                row = json_of(line)
            except ValueError as error:
                raise RecordingError(f"{file}:{line_number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise RecordingError(f"{file}:{line_number}: a JSON object is expected, not {type(row).__name__}")
            self._rows.append(row)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def read(self, make: Callable[[Row], Made]) -> Iterator[tuple[str, int, Made]]:
        """Repository, number and what is made of each line."""
        for line_number, row in enumerate(self._rows, start=1):
            try:
                yield row["repo"], row["number"], make(row)
            except KeyError as error:
                raise RecordingError(f"{self._file}:{line_number}: key {error} is missing") from None
            except (TypeError, ValueError, AttributeError) as error:
                raise RecordingError(f"{self._file}:{line_number}: {error}") from None


def _usual_base(pull_requests: list[PullRequest]) -> str:
    """The branch that most pull requests go into: no recording says which one is the default."""
    bases = Counter(pull_request.base_ref_name for pull_request in pull_requests)
    return min(bases, key=lambda base: (-bases[base], base), default="main")


def _login(row: Row) -> str:
    # REST writes a bot's login with the suffix, GraphQL without; recordings come from REST, we serve GraphQL.
    login: str = row["login"]
    return login.removesuffix(_BOT_SUFFIX)


def _kind(row: Row) -> ActorKind:
    if row["type"] is not None:
        return ActorKind(row["type"])
    return ActorKind.BOT if row["login"].endswith(_BOT_SUFFIX) else ActorKind.USER


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _first_known(*moments: datetime | None) -> datetime:
    first_moment = next((moment for moment in moments if moment is not None), None)
    if first_moment is None:
        raise ValueError("no time at all: createdAt, closedAt, mergedAt and updatedAt are null")
    return first_moment


def _touched(row: Row) -> tuple[datetime, ...]:
    updated_at = _time(row["updatedAt"])
    return () if updated_at is None else (updated_at,)


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
