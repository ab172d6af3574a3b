"""A scope that collects all that an owner has: what is read, what that costs, and when its epochs close."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.owners import ListedSourceScope, OwnerRules
from ledger_pipeline.core.pins import pinned_source_refs
from ledger_pipeline.core.sources import GITHUB, GITHUB_STREAMS
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.owners import known_owners
from ledger_pipeline.pipeline.pieces import LISTING_MAX_AGE, begin_scan
from ledger_pipeline.pipeline.report import ScanOutcome
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Repository, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO, SCOPE_ID, cursor, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, LAST_WEEK, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import merged, repository

DAY = timedelta(days=1)
NEXT_WEEK = EpochWindow(THIS_WEEK.end, THIS_WEEK.end + 7 * DAY)
AFTER_GRACE = THIS_WEEK.end + DAY + HOUR
ACME = "acme/*"


def of_owners(*refs: str, named: Iterable[str] = (), **rules: object) -> Scope:
    """A scope that collects all that owners have."""
    made = scope(*named)
    owners = OwnerRules(refs or (ACME,), **rules)  # type: ignore[arg-type]
    return replace(made, sources=(replace(made.sources[0], source_scopes=tuple(named), owners=owners),))


ALL = of_owners()


def made(number: int, at: datetime = NOW - HOUR, **facts: object) -> Repository:
    """A repository of acme with one merge; its objects are its own."""
    merge = replace(merged(number, at), database_id=8_000_000_000 + number)
    return repository(merge, name=f"acme/repo-{number}", database_id=number, **facts)


def ids(*numbers: int) -> list[str]:
    return [f"github:pr:acme/repo-{number}:{number}" for number in numbers]


def asked_for_owners(github: Simulator) -> list[str]:
    return [request.query for request in github.requests if request.query and "repositoryOwner" in request.query]


def test_every_repository_of_the_owner_is_collected_but_forks_archived_and_excluded_ones(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((made(1), made(2), made(3, is_fork=True), made(4, is_archived=True))))
    report = run(of=of_owners(exclude=("Acme/Repo-2",)))
    assert (report.found, report.failures) == (("acme/repo-1",), [])
    assert stored_ids(ledger) == ids(1)
    run(of=of_owners(include_forks=True, include_archived=True))
    assert sorted(stored_ids(ledger)) == ids(1, 2, 3, 4)


def test_an_idle_look_at_five_hundred_repositories_takes_ten_requests(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    names = [f"acme/repo-{number}" for number in range(1, 501)]
    github.replace_world(
        World(tuple(repository(name=name, database_id=number) for number, name in enumerate(names, 1)))
    )
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [ListedSourceScope(name, None) for name in names], NOW)
    streams = [(name, stream) for name in names for stream in GITHUB_STREAMS]
    read = [cursor(NOW, THIS_WEEK.start, stream=stream, source_scope=name) for name, stream in streams]
    ledger.scans.finish(SCOPE_ID, read, NOW)
    github.set_clock(NOW + DAY)
    report = run(of=ALL)
    assert [scope_report.outcome for scope_report in report.source_scopes] == [ScanOutcome.UNCHANGED] * 500
    assert report.requests == len(github.requests) == 10
    assert report.points <= 15
    assert {stored.watermark for stored in ledger.scans.cursors(SCOPE_ID, GITHUB).values()} == {NOW + DAY}


def test_one_that_is_made_today_is_collected_from_its_first_event_on(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((made(1),)))
    run([LAST_WEEK, THIS_WEEK], ALL)
    # Made after last week's end was read, with a merge in it: the epoch is open still.
    github.replace_world(World((made(1), made(2, LAST_WEEK.end - HOUR), made(3, NOW + HOUR, created_at=NOW))))
    github.set_clock(NOW + 2 * HOUR)
    report = run(of=ALL)
    assert report.found == ("acme/repo-2", "acme/repo-3")
    assert stored_ids(ledger) == ids(2, 1, 3)
    covered = {row.covered_from for (_, name), row in ledger.scans.cursors(SCOPE_ID, GITHUB).items() if name[-1] != "1"}
    assert covered == {LAST_WEEK.start}


def test_one_bad_owner_fails_alone_and_what_was_listed_of_it_before_is_read(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    of = of_owners(ACME, "gone/*", named=("other/site",))
    theirs = repository(merged(70, NOW), name="gone/site", database_id=70)
    github.replace_world(World((made(1), theirs, repository(merged(9, NOW), name="other/site", database_id=9))))
    assert run(of=of).failures == []
    late = replace(theirs, name_with_owner="moved/site", former_names=("gone/site",))
    late = replace(late, pull_requests=(*late.pull_requests, merged(71, NOW + HOUR, created_at=NOW + HOUR)))
    github.replace_world(World((made(1), late, repository(merged(9, NOW), name="other/site", database_id=9))))
    github.set_clock(NOW + 2 * HOUR)
    report = run(of=of)
    assert [str(failure) for failure in report.failures] == [
        "github gone/*: GitHub shows no such owner to these credentials: check the name in source_refs, "
        "and what the token, or the App's installation, may read"
    ]
    assert "github:pr:moved/site:71" in stored_ids(ledger)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of)
    assert close_due_epochs(ledger, of) == []  # nobody knows what else it had


def test_an_owner_of_whom_nothing_is_taken_is_a_failure(github: Simulator, run: Collect) -> None:
    github.replace_world(World((made(1, is_fork=True),)))
    [failure] = run(of=ALL).failures
    assert isinstance(failure, SourceRefused)
    assert "nothing of it is collected" in str(failure)


def test_an_epoch_closes_once_all_is_read_that_was_listed_after_its_grace(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((made(1),)))
    run(of=ALL)
    github.set_clock(THIS_WEEK.end + HOUR)
    run([NEXT_WEEK], ALL)
    assert close_due_epochs(ledger, ALL) == []
    # Found by the closing scan's own listing, with work in the week that closes.
    github.replace_world(World((made(1), made(2, NOW))))
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], ALL)
    assert ids(2)[0] in stored_ids(ledger, THIS_WEEK)
    [closed] = close_due_epochs(ledger, ALL)
    assert closed.window == THIS_WEEK
    [stored] = ledger.epochs.within(SCOPE_ID, THIS_WEEK)
    assert stored.pins is not None
    assert pinned_source_refs(stored.pins.pinned_spec) == {"acme/repo-1", "acme/repo-2"}
    github.clear_requests()
    assert run([THIS_WEEK], ALL).asked_nothing
    assert github.requests == ()


def test_what_comes_later_makes_no_closed_epoch_incomplete(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((made(1),)))
    run(of=ALL)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], ALL)
    assert len(close_due_epochs(ledger, ALL)) == 1
    github.replace_world(World((made(1), made(2, AFTER_GRACE, created_at=AFTER_GRACE))))
    github.set_clock(AFTER_GRACE + HOUR)
    run([NEXT_WEEK], ALL)
    read = window_completeness(ledger, ALL, [THIS_WEEK, NEXT_WEEK])
    assert read[THIS_WEEK].is_complete
    assert {reach.source_scope for reach in read[NEXT_WEEK].parts} == {ACME, "acme/repo-1", "acme/repo-2"}
    assert read[NEXT_WEEK].until == AFTER_GRACE + HOUR


@pytest.mark.parametrize("becomes", ["deleted", "archived"])
def test_one_that_vanishes_or_is_archived_later_is_covered_by_what_was_read(
    github: Simulator, ledger: PostgresLedger, run: Collect, becomes: str
) -> None:
    github.replace_world(World((made(1), made(2))))
    run(of=ALL)
    left = (made(1),) if becomes == "deleted" else (made(1), made(2, is_archived=True))
    github.replace_world(World(left))
    github.set_clock(AFTER_GRACE)
    report = run([NEXT_WEEK], ALL)
    assert report.failures == []
    assert report.gone == (("acme/repo-2",) if becomes == "deleted" else ())
    assert [epoch.window for epoch in close_due_epochs(ledger, ALL)] == [THIS_WEEK]
    assert sorted(stored_ids(ledger)) == ids(1, 2)


def test_a_renamed_one_pays_nobody_twice(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(World((made(1),)))
    run(of=ALL)
    github.replace_world(World((replace(made(1), name_with_owner="acme/new-name", former_names=("acme/repo-1",)),)))
    github.set_clock(NOW + HOUR)
    report = run(of=ALL)
    assert (report.found, report.gone) == (("acme/new-name",), ("acme/repo-1",))
    assert stored_ids(ledger) == ids(1)


def test_a_name_in_another_case_is_read_once(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(World((made(1),)))
    report = run(of=of_owners(named=("ACME/repo-1",)))
    assert [scope_report.source_scope for scope_report in report.source_scopes] == ["ACME/repo-1"]


def test_a_spec_that_names_all_asks_for_no_owner(github: Simulator, ledger: PostgresLedger, run: Collect) -> None:
    github.replace_world(World((made(1),)))
    run(of=scope("acme/repo-1"))
    assert not asked_for_owners(github)
    assert ledger.listings.latest(SCOPE_ID) == {}
    of = scope(REPO)
    assert known_owners(ledger, of).scope is of


# In pieces.


def test_a_scan_in_pieces_reads_what_an_owner_has_and_lists_it_once_in_an_hour(
    github: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    github.replace_world(World((made(1), made(2))))
    run(of=ALL)
    github.replace_world(World((made(1), made(2), made(3, NOW, created_at=NOW))))
    github.set_clock(NOW + LISTING_MAX_AGE / 2)
    with github_source(github.url) as source:

        def begun(name: str) -> str:
            state = begin_scan(source, ledger, ALL, name, THIS_WEEK, GITHUB_STREAMS, THIS_WEEK.start)
            return state.source_scope

        github.clear_requests()
        assert begun("Acme/Repo-2") == "acme/repo-2"
        assert not asked_for_owners(github)
        with pytest.raises(SourceRefused, match="its owner's list does not have it"):
            begun("acme/repo-3")
        run([THIS_WEEK], scope("other/site"))  # fails, and shows nobody what time it is
        github.set_clock(NOW + 2 * LISTING_MAX_AGE)
        github.replace_world(World((made(1), made(2), made(3, NOW, created_at=NOW))))
        run(of=scope("acme/repo-1"))
        assert begun("acme/repo-3") == "acme/repo-3"
