"""An epoch's page says what the ledger has, fetches nothing, and takes nothing from outside for markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.epoch_page.content import epoch_content
from ledger_pipeline.epoch_page.index import index_content
from ledger_pipeline.epoch_page.render import render_index, render_page
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline_tests.builders import (
    ADA,
    PRODUCER,
    REPO,
    SCOPE_ID,
    Actor,
    cursor,
    instant,
    issue,
    pull_request,
    receipt,
    review,
    scope,
    window,
)
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.hostile import HOSTILE, acts, hostile_books, hostile_rejections, hostile_scans
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import ADA_USER, APPROVER, GRACE_USER, Books, finalized, reviewed

WEEK = window()
NOW = instant("2026-02-18T12:00")
STREAMS = ("pull_requests", "reviews", "issues")


class Page(HTMLParser):
    """What a browser would make of a page: its text, its tags, and every address in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.text += " "
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src", "srcset", "action", "data"}]

    def handle_data(self, data: str) -> None:
        self.text += data


class Cells(HTMLParser):
    """The text of each cell of a page's tables, and the names of all attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}
        if tag == "td":
            self.found.append("")

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1] += data.removesuffix("\n")


def append(ledger: PostgresLedger, *events: ActivityEvent) -> None:
    ledger.epochs.ensure(SCOPE_ID, [WEEK], scope().weights_milli)
    ledger.events.append(SCOPE_ID, events, PRODUCER, NOW)


def page(ledger: PostgresLedger) -> str:
    return render_page(epoch_content(ledger, scope(), WEEK, NOW))


@pytest.fixture
def collected(ledger: PostgresLedger) -> PostgresLedger:
    """Two events by two people, read up to NOW."""
    append(ledger, pull_request(1), review(2))
    ledger.scans.finish(
        SCOPE_ID,
        [cursor(NOW, "2026-02-09", stream=stream) for stream in STREAMS],
        NOW,
        [receipt(NOW, stream=stream, pages=3, skipped_by_reason={"bot": 1}) for stream in STREAMS],
    )
    return ledger


def test_it_says_the_state_the_counts_the_people_the_cursors_and_the_receipts(collected: PostgresLedger) -> None:
    text = " ".join(Page(page(collected)).text.split())
    assert "running: collected up to 2026-02-18T12:00Z" in text
    assert "events 2 pull requests 1 reviews 1 issues 0 contributors 2 rejected 0" in text
    assert "ada github:583231 1 1" in text
    assert "grace github:1024025 1 0.5" in text
    assert f"{REPO} pull_requests 2026-02-09 00:00:00Z 2026-02-18 12:00:00Z" in text
    assert f"{REPO} reviews 2026-02-16 00:00:00Z 2026-02-18 12:00:00Z 1 3 1 0" in text
    [digest] = collected.events.digests(SCOPE_ID, [WEEK])
    assert digest.set_hash in text


def test_it_has_both_charts_and_fetches_nothing(collected: PostgresLedger) -> None:
    html = page(collected)
    shown = Page(html)
    assert shown.tags.count("img") == 2
    assert all(address.startswith("data:image/png;base64,") for address in shown.addresses)
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    assert "@import" not in html
    assert "url(" not in html
    assert "prefers-color-scheme: dark" in html


def test_rejected_events_are_told_with_reason_and_link(collected: PostgresLedger, ledger_engine: Engine) -> None:
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    append(collected, issue(9))
    shown = Page(page(collected))
    assert f"https://github.com/{REPO}/issues/9" in shown.addresses
    assert f"late github:issue:{REPO}:9 ada 2026-02-17 12:00:00Z" in " ".join(shown.text.split())
    assert "is in review." in shown.text


def test_what_others_wrote_is_text_and_never_markup(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    mean = Actor(666, "<script>alert(1)</script>")
    append(ledger, pull_request(1, author=mean))
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    late = issue(2, author=mean)
    append(ledger, ActivityEvent(**{**vars(late), "artifact_url": "javascript:alert(1)"}))
    shown = Page(page(ledger))
    assert "script" not in shown.tags
    assert shown.text.count("<script>alert(1)</script>") == 3
    assert [address for address in shown.addresses if "javascript" in address] == []


def test_nothing_from_outside_is_an_element_an_attribute_or_a_link_and_different_values_read_differently(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = hostile_books(ledger)
    hostile_scans(books)
    set_status(ledger_engine, SCOPE_ID, WEEK, EpochStatus.REVIEW)
    hostile_rejections(books)
    html = render_page(epoch_content(ledger, scope(*HOSTILE), WEEK, NOW))
    assert not acts(html)
    tags, cells = Page(page(ledger)).tags, Cells(html)
    assert set(Page(html).tags) <= {*tags, "a"}
    assert cells.attributes <= {
        "class",
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "src",
        "alt",
        "href",
        "rel",
    }
    for value in HOSTILE:
        assert cells.found.count(plain_text(value)) >= 4, value  # contributor, refused event, cursor, receipt
    links = [address for address in Page(html).addresses if not address.startswith("data:image/png;base64,")]
    assert links == []  # of the values none is an address that reads as it is


def test_an_epoch_that_nobody_collected_has_its_page_too(ledger: PostgresLedger) -> None:
    text = " ".join(Page(page(ledger)).text.split())
    assert "The ledger has no epoch for it yet." in text
    assert "not collected from every source_scope yet" in text
    assert "None: nobody looked yet." in text


@pytest.fixture
def environment(ledger_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": ledger_url,
        "LEDGER_HOME": str(tmp_path / "home"),
        "LEDGER_REPO_SPEC": str(write_repo_spec(tmp_path, REPO)),
    }


def test_the_command_writes_the_page_and_says_where(
    command: Command, environment: dict[str, str], collected: PostgresLedger, tmp_path: Path
) -> None:
    file = tmp_path / "week.html"
    ran = command("report", "--epoch", "2026-02-16", "--output", str(file), **environment)
    assert (ran.code, ran.out) == (0, f"Written to {file}\n"), ran.err
    assert "Epoch 2026-02-16 of default" in Page(file.read_text()).text


def test_without_a_file_name_it_is_that_of_epoch_and_scope(
    command: Command, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("report", "--epoch", "2026-02-16", "--scope", "default", **environment).code == 0
    assert re.match("<!doctype html>", (tmp_path / "epoch-2026-02-16-default.html").read_text())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--epoch", "2026-02-17"], "no 7-day epoch starts on 2026-02-17"),
        (["--epoch", "2126-02-18"], "has not begun"),
        (["--epoch", "2026-02-16", "--scope", "nope"], "no scope 'nope'"),
        (["--epoch", "2026-02-16", "--output", "/nonexistent/x.html"], "cannot write /nonexistent/x.html"),
        ([], "--epoch"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_exit_2_and_says_why(
    command: Command, environment: dict[str, str], arguments: list[str], says: str
) -> None:
    ran = command("report", *arguments, **environment)
    assert ran.code == 2
    assert says in " ".join(re.sub("[│╭╮╰╯─]", " ", ran.err).split())


def test_it_is_the_approvers_page(ledger: PostgresLedger, tmp_path: Path) -> None:
    books = reviewed(ledger, users={ADA.user_id: ADA_USER})
    ledger.curation.judge(books.epoch, pull_request(1).id, Judgement("half of it was generated", None, 500))
    ledger.allocations.decide(books.epoch, GRACE_USER, 500, "ran the release")
    books.materialize()
    text = " ".join(Page(page_of(books)).text.split())
    for words in (
        "Curation 3 curated events: 0 left out, 1 with a weight of their own, 1 of accounts without a user.",
        f"{pull_request(1).id} {ADA_USER} yes 0.5 half of it was generated",
        "github:1024025 grace 2,000 0.5 1",
        "Allocations ready to sign",
        f"{ADA_USER} 6,000 60 % 1.5 1.5 2",
        "identity:github:1024025 2,000 20 % 0.5 0.5 1",
        f"{GRACE_USER} 2,000 20 % 0.5 0 0 ran the release",
        "Pool component credits by evidence base_issuance 10,000",
        "Statements None is signed. May sign: 0xF79990CA4DCA80E46ebC61e08151341A3482b136",
    ):
        assert words in text, words
    books.finalize(books.signature())
    text = " ".join(Page(page_of(books)).text.split())
    assert f"Allocations signed by {APPROVER.address}" in text
    assert f"{ADA_USER} 6,000 60 % 1.5" in text
    assert f"Signed by {APPROVER.address}." in text


def page_of(books: Books) -> str:
    return render_page(epoch_content(books.ledger, books.scope, books.of, NOW))


def test_the_index_has_every_epoch_and_what_each_contributor_had_of_it(ledger: PostgresLedger) -> None:
    signed = finalized(ledger)
    later = reviewed(ledger, of=window("2026-02-23"))
    epochs = [signed.epoch, later.epoch]
    content = index_content(ledger, signed.scope, epochs, NOW)
    assert [(person.user_id, person.signed_credits, person.proposed_credits) for person in content.contributors] == [
        (ADA_USER, 8000, 8000),
        (GRACE_USER, 2000, 2000),
    ]
    html = render_index(content, {"epoch-2026-02-16-default.html"})
    assert [address for address in Page(html).addresses if ".html" in address] == ["epoch-2026-02-16-default.html"]
    text = " ".join(Page(html).text.split())
    assert "2026-02-23 review 10,000 no 3 2 2026-02-16 finalized 10,000 yes 3 2" in text
    assert f"{ADA_USER} 8,000 8,000 8,000 8,000" in text
    assert Page(html).tags.count("img") == 1


def test_the_index_of_a_ledger_without_epochs_says_so(ledger: PostgresLedger) -> None:
    text = Page(render_index(index_content(ledger, scope(), [], NOW))).text
    assert "None is in the ledger." in text


def test_the_index_is_written_by_the_command(
    command: Command, ledger: PostgresLedger, ledger_url: str, tmp_path: Path
) -> None:
    finalized(ledger)
    spec = write_repo_spec(tmp_path, REPO)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    file = tmp_path / "all.html"
    assert command("report", "--all", "--output", str(file), **given).code == 0
    assert ADA_USER in file.read_text()
    assert command("report", **given).code == command("report", "--all", "--epoch", "last", **given).code == 2
