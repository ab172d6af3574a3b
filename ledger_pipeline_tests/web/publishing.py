"""A ledger with finalized epochs to show, and its public pages served on a port of this machine."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Thread

import uvicorn
from starlette.applications import Starlette

from ledger_pipeline.core.events import ActivityEvent, Actor
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.store.postgres import PostgresLedger, open_finalized
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.web.public.serving import BoundedProtocol, configured
from ledger_pipeline.web.public.shelf import Shelf
from ledger_pipeline.web.public.site import public_site
from ledger_pipeline_tests.builders import NODE_ID, instant, issue, pull_request, review, weeks
from ledger_pipeline_tests.store.settlement import APPROVER, SECOND_APPROVER, Books, bound, settling_scope
from ledger_pipeline_tests.waiting import eventually

LOCAL = frozenset({"localhost", "127.0.0.1"})
NOW = instant("2026-03-18T10:00:00Z")
NAMES = ("ana", "bo", "chidi", "derek", "emeka", "farah", "goran", "hana", "ines", "jonas", "priya", "yuki")
PEOPLE = [Actor(user_id=1000 + number, login=f"{name}-dev") for number, name in enumerate(NAMES)]
UNLINKED = [Actor(user_id=2000, login="passer-by"), Actor(user_id=2001, login="driveby-fixes")]
USERS = {actor.user_id: name for actor, name in zip(PEOPLE, NAMES, strict=True)}
TITLES = (
    "Scan cursors move only once every page is stored",
    "Largest remainder breaks ties by key",
    "Say which repository failed and why",
    "Retry a page that timed out with half its size",
    "Fix the off-by-one at the end of an epoch",
    "Statement hash over lines in code-point order",
    "Document the review of an epoch",
)


def fair_scope() -> Scope:
    """A scope whose policy leaves out reviews of one's own and issues that were not planned."""
    return replace(settling_scope(), selection=installed_policy("fair-v1").choice({}, ()))


def work_of(week: EpochWindow, events: int) -> list[ActivityEvent]:
    """`events` of a week: merged pull requests, reviews of others' and one's own, and closed issues."""
    number = 100 * week.start.toordinal()
    everybody = [*PEOPLE, *UNLINKED]
    made: list[ActivityEvent] = []
    chance = Random(number)
    for place in range(events):
        at = (week.start + timedelta(seconds=chance.randrange(7 * 86400))).strftime("%Y-%m-%dT%H:%M:%SZ")
        # The first have more to do than the last.
        author = everybody[min(chance.randrange(len(everybody)), chance.randrange(len(everybody)))]
        if place == 3:
            author = UNLINKED[0]
        title = chance.choice(TITLES)
        if place % 3 == 1:
            made.append(review(number + place, at=at, author=author, title=title))
        elif place % 7 == 5:
            made.append(issue(number + place, at=at, author=author, title=title))
        else:
            made.append(pull_request(number + place, at=at, author=author, title=title))
    return made


def finalized_weeks(ledger: PostgresLedger, windows: Sequence[EpochWindow], events: int = 24) -> list[Books]:
    """Epochs that are finalized, each with `events`; the second but last is amended, and signed by two."""
    scope = fair_scope()
    ledger.identities.bind(bound(USERS))
    made = []
    for number, week in enumerate(windows):
        books = Books(ledger, scope, week)
        assert books.epoch
        work = work_of(week, events)
        books.append(*work)
        books.materialize()
        if number % 4 == 1:
            ledger.curation.judge(
                books.epoch, work[0].id, Judgement("half of it was generated", weight_override_milli=500)
            )
            ledger.curation.judge(books.epoch, work[2].id, Judgement("the same as the one before", included=False))
            ledger.allocations.decide(books.epoch, "bo", 2500, "ran the release")
            books.materialize()
        books.close()
        books.finalize(books.signature())
        if number == len(windows) - 2:
            books.correct("ana", 5250, "the migration was hers too")
            for signature in [books.signature(by) for by in (APPROVER, SECOND_APPROVER)]:
                books.finalize(signature)
        made.append(books)
    return made


@contextmanager
def shown(url: str, folder: Path, spec: RepoSpec | None = None) -> Iterator[Starlette]:
    """The application over the ledger at `url`, as its login for the web sees it."""
    with open_finalized(url, NODE_ID) as ledger:
        yield public_site(
            Shelf(ledger, spec or RepoSpec(NODE_ID, (fair_scope(),), "x.yaml"), folder), LOCAL, now=lambda: NOW
        )


@contextmanager
def serving(app: Starlette, protocol: type[BoundedProtocol] = BoundedProtocol) -> Iterator[str]:
    """The application on a port of this machine, served as in production: its URL."""
    server = uvicorn.Server(configured(app, "127.0.0.1", 0, protocol))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


FINALIZED = weeks(4, "2026-02-16")
"""The windows that tests finalize; the one of NOW runs."""
