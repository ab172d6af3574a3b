"""A list that GitHub ends too early completes no epoch, holds up nothing else, and is read once it is whole."""

from datetime import timedelta

import pytest

from ledger_pipeline.core.sources import ISSUE, PULL_REQUEST
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.simulator.faults import OddField, ShortPage
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import SCOPE_ID, scope
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK, Collect, stored_ids
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review

OTHER = "cogni-dao/other"
SCOPE = scope(NAME, OTHER)
MERGES = [merged(n, NOW - n * HOUR, reviews=(review(n, NOW - n * HOUR),)) for n in (1, 2, 3)]
OF_NAME = [
    f"github:{kind}:{NAME}:{n}{id_}" for n in (1, 2, 3) for kind, id_ in (("pr", ""), ("review", f":{4 * 10**9 + n}"))
]
OF_NAME += [f"github:issue:{NAME}:4"]
OF_OTHER = [f"github:pr:{OTHER}:9"]


@pytest.fixture
def two(github: Simulator) -> Simulator:
    """Two repositories; the first has a merge, a review or a closing every hour."""
    of_name = repository(*MERGES, issue(4, closures=(Closure(NOW - HOUR),)))
    of_other = repository(merged(9, NOW - HOUR), name=OTHER, database_id=2)
    github.replace_world(World((of_name, of_other)))
    return github


@pytest.mark.parametrize(("connection", "kind"), [("pullRequests", PULL_REQUEST), ("issues", ISSUE)])
@pytest.mark.parametrize("page_size", [100, 2])
def test_a_list_that_is_short_twice_is_unread_holds_up_nothing_and_is_read_once_it_is_whole(
    two: Simulator, ledger: PostgresLedger, run: Collect, connection: str, kind: str, page_size: int
) -> None:
    two.faults.for_repository(NAME, ShortPage(connection))
    for minutes in range(2):
        two.set_clock(NOW + timedelta(minutes=minutes))
        report = run(of=SCOPE, page_size=page_size)
        assert report.failures == []
        [row] = report.unread
        assert row.item.key == ItemKey(kind, 0)
        assert f"{connection} and lists 0 of them" in row.item.reason
        assert row.item.may_touch(THIS_WEEK)
        assert set(OF_OTHER) < set(stored_ids(ledger)) < {*OF_NAME, *OF_OTHER}
    two.faults.clear()
    two.set_clock(NOW + HOUR)
    assert run(of=SCOPE, page_size=page_size).unread == ()
    assert sorted(stored_ids(ledger)) == sorted([*OF_NAME, *OF_OTHER])
    assert ledger.unread.items(SCOPE_ID) == []


def test_a_list_that_is_short_in_news_is_read_again_from_where_it_lacked_something(
    two: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    run(of=SCOPE)
    later = NOW + timedelta(days=1)
    two.set_clock(later)
    of_name = repository(*MERGES, merged(5, later - HOUR), issue(4, closures=(Closure(NOW - HOUR),)))
    two.replace_world(two.world.with_repository(of_name))
    two.faults.for_repository(NAME, ShortPage("pullRequests"))
    [row] = run(of=SCOPE).unread
    assert "GitHub counts 4 pullRequests and lists 0 of them" in row.item.reason
    two.faults.clear()
    two.set_clock(later + HOUR)
    assert run(of=SCOPE).unread == ()
    assert f"github:pr:{NAME}:5" in stored_ids(ledger)


def test_reviews_that_are_short_twice_leave_their_pull_request_unread(
    two: Simulator, ledger: PostgresLedger, run: Collect
) -> None:
    two.faults.for_repository(NAME, ShortPage("reviews"))
    report = run(of=SCOPE)
    assert report.failures == []
    assert {row.item.key for row in report.unread} == {ItemKey(PULL_REQUEST, n) for n in (1, 2, 3)}
    assert all("reviews of pull request" in row.item.reason for row in report.unread)
    assert [id_ for id_ in stored_ids(ledger) if ":review:" in id_] == []
    two.faults.clear()
    assert run(of=SCOPE).unread == ()
    assert sorted(stored_ids(ledger)) == sorted([*OF_NAME, *OF_OTHER])


@pytest.mark.parametrize(
    ("number", "field", "lost"),
    [(1, "mergedAt", f"github:pr:{NAME}:1"), (4, "closedAt", f"github:issue:{NAME}:4")],
)
def test_what_is_done_and_does_not_say_when_is_unread_and_not_silently_nothing(
    two: Simulator, ledger: PostgresLedger, run: Collect, number: int, field: str, lost: str
) -> None:
    two.faults.for_repository(NAME, OddField(number, field, None))
    [row] = run(of=SCOPE).unread
    assert (row.item.key.number, row.item.reason.split()[:3]) == (number, [field, "is", "null"])
    assert lost not in stored_ids(ledger)
    two.faults.clear()
    assert run(of=SCOPE).unread == ()
    assert lost in stored_ids(ledger)
