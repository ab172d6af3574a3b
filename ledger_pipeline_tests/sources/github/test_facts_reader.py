"""Facts of items that are asked for by number: many at once, each whatever is wrong with another."""

from dataclasses import replace

import pytest

from ledger_pipeline.core.errors import SourceRefused
from ledger_pipeline.core.facts import Facts
from ledger_pipeline.core.sources import ISSUE, PULL_REQUEST
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.port import FactsPage, ItemFacts
from ledger_pipeline.sources.simulator.faults import Fault, ForbiddenField, HeavyItem, NullItem
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Actor, ActorKind, Closure, World
from ledger_pipeline_tests.sources.github.github_source import github_source, scan
from ledger_pipeline_tests.sources.simulator.worlds import (
    LATER,
    MONDAY,
    NAME,
    NOON,
    issue,
    merged,
    repository,
    review,
    world,
)

ITEMS = (
    replace(merged(1, reviews=(review(1), review(2))), labels=("bug",)),
    merged(2),
    issue(3, closures=(Closure(NOON),), labels=("bug",)),
)
KEYS = (ItemKey(PULL_REQUEST, 1), ItemKey(PULL_REQUEST, 2), ItemKey(ISSUE, 3))


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.set_clock(LATER)
    github.replace_world(world(*ITEMS))
    return github


def read(github: Simulator, *keys: ItemKey, name: str = NAME, page_size: int = 100) -> list[FactsPage]:
    github.clear_requests()
    with github_source(github.url, page_size) as source:
        return list(source.facts_of(name, keys or KEYS))


def items(pages: list[FactsPage]) -> dict[ItemKey, ItemFacts]:
    keys = [item.key for page in pages for item in page.items]
    assert len(keys) == len(set(keys))
    return {item.key: item for page in pages for item in page.items}


def facts(pages: list[FactsPage]) -> dict[str, Facts]:
    return {of.event_id: of.facts for item in items(pages).values() for of in item.observations}


def test_many_items_are_one_request_and_say_what_a_scan_says(github: Simulator) -> None:
    expected = scan(github.url, MONDAY)
    pages = read(github)
    assert facts(pages) == {of.event_id: of.facts for page in expected for of in page.facts}
    assert {key: object_id for item in items(pages).values() for key, object_id in item.object_ids.items()} == {
        event.id: event.source_object_id for page in expected for event in page.events
    }
    assert len(github.requests) == 1
    assert pages[0].answered_at == LATER
    assert pages[0].usage.points == 1


def test_items_come_in_pages_each_once(github: Simulator) -> None:
    numbers = range(10, 130)
    github.replace_world(world(*(merged(number) for number in numbers)))
    pages = read(github, *(ItemKey(PULL_REQUEST, number) for number in numbers))
    assert [key.number for key in items(pages)] == list(numbers)
    assert [len(page.items) for page in pages] == [50, 50, 20]


def test_all_reviews_of_a_pull_request_have_their_facts(github: Simulator) -> None:
    github.replace_world(world(merged(1, reviews=tuple(review(n) for n in range(1, 131)))))
    [item] = items(read(github, ItemKey(PULL_REQUEST, 1))).values()
    assert len(item.observations) == 131


def test_what_is_not_there_is_gone_and_the_others_are_read(github: Simulator) -> None:
    gone = (ItemKey(PULL_REQUEST, 77), ItemKey(ISSUE, 78))
    read_items = items(read(github, *KEYS, *gone))
    assert [read_items[key].is_gone for key in (*KEYS, *gone)] == [False, False, False, True, True]
    assert all(read_items[key].observations for key in KEYS)


@pytest.mark.parametrize("page_size", [100, 1])
@pytest.mark.parametrize("fault", [HeavyItem(1), NullItem(1)])
def test_an_item_that_github_cannot_give_blocks_no_other(github: Simulator, fault: Fault, page_size: int) -> None:
    expected = facts(read(github))
    github.faults.when(lambda _: True, fault)
    pages = read(github, page_size=page_size)
    broken = items(pages)[KEYS[0]]
    assert broken.problem
    assert not broken.is_gone
    of_others = {event_id: of for event_id, of in expected.items() if f"{NAME}:1" not in event_id}
    assert {event_id: of for event_id, of in facts(pages).items() if f"{NAME}:1" not in event_id} == of_others


def test_an_item_that_github_answers_null_for_once_is_asked_for_alone(github: Simulator) -> None:
    expected = facts(read(github))
    github.faults.on_request(1, NullItem(1))
    assert facts(read(github)) == expected


def test_what_is_no_event_any_more_has_facts_still(github: Simulator) -> None:
    helper = Actor("helper", 99, ActorKind.BOT)
    reopened = replace(ITEMS[2], closures=(Closure(NOON, reopened_at=NOON),))
    github.replace_world(world(replace(ITEMS[0], author=helper, reviews=(replace(review(1), author=None),)), reopened))
    pages = read(github, KEYS[0], KEYS[2])
    assert set(facts(pages)) == {f"github:pr:{NAME}:1", f"github:review:{NAME}:1:4000000001", f"github:issue:{NAME}:3"}
    assert [item.object_ids for item in items(pages).values()] == [{}, {}]


def test_ids_are_of_the_name_that_was_asked_for(github: Simulator) -> None:
    before = facts(read(github))
    renamed = replace(repository(*ITEMS), name_with_owner="new/name", former_names=(NAME,))
    github.replace_world(World((renamed,)))
    assert set(facts(read(github))) == set(before)


def test_a_fact_that_is_forbidden_takes_no_other_with_it(github: Simulator) -> None:
    github.faults.when(lambda _: True, ForbiddenField("labels"))
    assert len(facts(read(github))) == 5


def test_a_repository_that_is_not_there_is_refused_and_nothing_is_gone(github: Simulator) -> None:
    with pytest.raises(SourceRefused, match="no/where"):
        read(github, name="no/where")
