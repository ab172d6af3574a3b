"""Text that acts on whoever shows it without care, and a real ledger with it in every column that outsiders write."""

from dataclasses import replace

from ledger_pipeline.core.events import ActivityEvent, Actor
from ledger_pipeline.core.identifiers import why_not_an_id
from ledger_pipeline.core.pool import KPI_BONUS_V0, TOP_UP, NewPoolComponent
from ledger_pipeline.pipeline.allocate import add_to_pool
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline_tests.builders import cursor, instant, issue, pull_request, receipt
from ledger_pipeline_tests.store.settlement import Books, collected

HOSTILE = (
    "core",
    "[a]core",
    "[b]core",
    "[/x]",
    "[link=https://evil.example]x[/link]",
    "\x1b]0;owned\x07",
    "\x1b[2J",
    r"\x1b[2J",
    "\x9b2J",
    "\x7f",
    "ab",
    "a\u202eb",
    "a\u200bb",
    "\u2066ab",
    "a\nb",
    "a\rb",
    "a\tb",
    " ab",
    "ab ",
    "a\xa0b",
    "a b",
    "caf\xe9",
    "cafe\u0301",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "data:text/html,x",
    "https://x.example/\u202egnp",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "**bold** _x_ `code` ~~x~~ &lt;b>",
    r"$\frac{",
    "{{ 7 * 7 }} {x} %s",
    ":warning:",
    "=1+1",
    "\u4e2d\u6587 \U0001f389",
)
NUMBERS = range(1, len(HOSTILE) + 1)
# What of it may be a user; another in place of what may not.
HOSTILE_USERS = tuple(
    value if why_not_an_id(value) is None else f"[user {number}]"
    for number, value in zip(NUMBERS, HOSTILE, strict=True)
)


def acts(text: str) -> set[str]:
    """The characters in `text` that would act on a terminal or hide; a line feed ends a line and is none."""
    return {character for character in text if character != "\n" and not character.isprintable()}


def hostile_event(number: int, value: str) -> ActivityEvent:
    """A pull request by an account of its own, `value` wherever a source says something in words."""
    event = pull_request(number, author=Actor(number, value), repo=value, title=value)
    return replace(event, artifact_url=value)


def hostile_books(ledger: PostgresLedger) -> Books:
    """An open epoch of HOSTILE_USERS, with an event, a note and a reason of each of HOSTILE; one event is of nobody."""
    events = [hostile_event(number, value) for number, value in zip(NUMBERS, HOSTILE, strict=True)]
    stranger = pull_request(900, author=Actor(900, HOSTILE[5]))
    books = collected(ledger, *events, stranger, users=dict(zip(NUMBERS, HOSTILE_USERS, strict=True)))
    books.materialize()
    for event, value, user_id in zip(events, HOSTILE, HOSTILE_USERS, strict=True):
        ledger.curation.judge(books.epoch, event.id, Judgement(f"note {value}", weight_override_milli=2000))
        ledger.allocations.decide(books.epoch, user_id, 1500, f"reason {value}")
    for component, value in ((TOP_UP, "\x1b[2J[/x]"), (KPI_BONUS_V0, "javascript:alert(1)")):
        add_to_pool(ledger, books.epoch, NewPoolComponent(component, 7, {value: value}, value))
    return books


def hostile_scans(books: Books) -> None:
    """A cursor and a receipt of a repository by each of the names HOSTILE."""
    now = instant("2026-02-24")
    cursors = [cursor(now, source_scope=value) for value in HOSTILE]
    receipts = [receipt(now, source_scope=value, skipped_by_reason={"bot": 1}) for value in HOSTILE]
    books.ledger.scans.finish(books.scope.scope_id, cursors, now, receipts)


def hostile_rejections(books: Books) -> None:
    """A refused event of each of HOSTILE; the epoch is no longer open."""
    books.append(*(replace(issue(500 + number, author=Actor(number, value), repo=value), artifact_url=value)
                   for number, value in zip(NUMBERS, HOSTILE, strict=True)))  # fmt: skip
