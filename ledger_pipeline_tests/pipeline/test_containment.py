"""What one repository holds or does wrong stays its own: the others are collected, and its own text is stored."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger_pipeline.core.errors import ScanBroken, SourceRefused, StoreUnavailable
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.containment import contained
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import Heads, ScanPage, ScanRequest
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import scope
from ledger_pipeline_tests.pipeline.collecting import ALWAYS, HOUR, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, world

SECRET = "ghp_marked_secret"


class Faulty:
    """A source that is right about every repository but one."""

    def __init__(self, source: GitHubSource, faulty: str) -> None:
        self._source = source
        self._faulty = faulty

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def heads(self, source_scopes: object) -> Heads:
        raise LookupError(SECRET)

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        yield from self._source.scan(request)
        if request.source_scope == self._faulty:
            raise ZeroDivisionError(SECRET)


def test_an_error_nobody_foresaw_fails_the_repository_it_came_with_and_no_other(
    github: Simulator, ledger: PostgresLedger
) -> None:
    names = ("dao/one", "dao/two", "dao/three")
    github.replace_world(
        World(tuple(repository(merged(1, NOW - HOUR), name=name, database_id=n) for n, name in enumerate(names, 1)))
    )
    with github_source(github.url) as source:
        report = collect(Faulty(source, "dao/two"), ledger, scope(*names), [THIS_WEEK])  # type: ignore[arg-type]
    [failure] = report.failures
    assert isinstance(failure, ScanBroken)
    assert failure.source_scope == "dao/two"
    assert "ZeroDivisionError at test_containment.py" in str(failure)
    assert SECRET not in str(failure)
    assert {name for _, name in ledger.scans.cursors(scope(*names).scope_id, "github")} == {"dao/one", "dao/three"}


class Ending(Faulty):
    """A source whose pages end before the last one."""

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        yield next(self._source.scan(request))


def test_pages_that_end_before_the_last_one_are_no_whole_scan(github: Simulator, ledger: PostgresLedger) -> None:
    github.replace_world(world(*(merged(n, NOW - n * HOUR) for n in range(1, 6))))
    with github_source(github.url, page_size=2) as source:
        report = collect(Ending(source, NAME), ledger, scope(NAME), [THIS_WEEK])  # type: ignore[arg-type]
    [failure] = report.failures
    assert "its pages ended before the last one" in str(failure)
    assert not report.has_read(THIS_WEEK, ["pull_requests"])
    assert ledger.scans.cursors(scope(NAME).scope_id, "github") == {}
    assert len(stored_ids(ledger)) == 2


def test_what_is_everybodys_passes_as_it_is() -> None:
    for error in (StoreUnavailable("down"), SourceRefused("github", NAME, "gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, contained("github", NAME):
            raise error
        assert raised.value is error


def test_text_that_no_database_takes_is_stored_with_replacements(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    odd = replace(merged(1, NOW - HOUR), title="a\0b", base_ref_name="ma\0in")
    github.replace_world(world(odd, replace(issue(2, closures=(Closure(NOW),)), title="\0")))
    assert not run().failures
    assert len(stored_ids(ledger)) == 2
    titles = [event.metadata["title"] for event in ledger.events.within(scope(NAME).scope_id, ALWAYS)]
    assert sorted(map(str, titles)) == ["a\ufffdb", "\ufffd"]


def test_text_without_an_end_keeps_nothing_else_from_being_read(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    long = replace(merged(1, NOW - HOUR), title="x" * 300_000)
    github.replace_world(
        world(
            long,
            replace(merged(3, NOW - HOUR), base_ref_name="b" * 300_000),
            replace(merged(4, NOW - HOUR), title="\x01" * 300_000, base_ref_name="\x01" * 2000),
            replace(issue(2, closures=(Closure(NOW),)), title="\U0001f600" * 300_000),
        )
    )
    run()
    titles = [event.metadata["title"] for event in ledger.events.within(scope(NAME).scope_id, ALWAYS)]
    assert sorted(len(str(title)) for title in titles) == [2000, 2000, 2000]
    assert [row.item.key.number for row in ledger.unread.items(scope(NAME).scope_id)] == [3]
