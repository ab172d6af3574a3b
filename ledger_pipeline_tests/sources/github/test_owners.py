"""All repositories of an owner are listed a hundred to a request, and a list that is not whole is none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.sources.github.owners import LISTINGS
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import OwnedSourceScopes
from ledger_pipeline.sources.simulator.faults import After, HeavyPage
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Repository, World
from ledger_pipeline_tests.sources.github.canned import canned, serving
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.sources.simulator.worlds import LATER, repository

HOUR = timedelta(hours=1)


def repositories(count: int) -> tuple[Repository, ...]:
    return tuple(repository(name=f"Acme/repo-{n}", database_id=n) for n in range(1, count + 1))


@pytest.fixture
def github(github: Simulator) -> Simulator:
    github.replace_world(World(repositories(250)))
    github.set_clock(LATER)
    return github


def listed(github: Simulator, owner_ref: str = "acme/*") -> OwnedSourceScopes:
    with github_source(github.url) as source:
        return source.list_owner(owner_ref)


def names(owned: OwnedSourceScopes) -> list[str]:
    return [row.source_scope for row in owned.source_scopes]


def test_an_owners_repositories_come_a_hundred_to_a_request_with_what_rules_ask_for(github: Simulator) -> None:
    made = repositories(250)
    forked, archived = replace(made[0], is_fork=True), replace(made[1], is_archived=True)
    of_beta = repository(name="beta/site", database_id=900)
    github.replace_world(World((of_beta, *made[2:], archived, forked)))
    owned = listed(github)
    assert owned.source_scopes[:3] == (
        ListedSourceScope("Acme/repo-1", "1", is_fork=True),
        ListedSourceScope("Acme/repo-2", "2", is_archived=True),
        ListedSourceScope("Acme/repo-3", "3"),
    )
    assert len(owned.source_scopes) == 250
    assert (owned.began_at, owned.usage.requests, owned.usage.points) == (LATER, 3, 3)
    assert len(github.requests) == 3


def test_one_made_while_the_list_is_read_is_in_it(github: Simulator) -> None:
    late = replace(repository(name="acme/late", database_id=7_000), created_at=LATER + HOUR)
    github.replace_world(World((late, *repositories(150))))
    github.faults.next(After(lambda: github.set_clock(LATER + 2 * HOUR)))
    owned = listed(github)
    assert names(owned)[-1] == "acme/late"
    assert owned.began_at == LATER


def test_a_list_that_shrinks_while_it_is_read_is_read_again(github: Simulator) -> None:
    fewer = repositories(250)[50:]
    github.faults.next(After(lambda: github.replace_world(World(fewer))))
    assert len(names(listed(github))) == 250  # what was seen before it was deleted is listed too
    github.replace_world(World(repositories(250)))
    assert len(names(listed(github))) == 250


NODE = {"nameWithOwner": "acme/a", "databaseId": 1, "isArchived": False, "isFork": False}


@contextmanager
def answering(total: int, *nodes: object) -> Iterator[GitHubSource]:
    """A GitHub that answers this page to whatever it is asked."""
    page = {"totalCount": total, "pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": nodes}
    body = json.dumps({"data": {"repositoryOwner": {"repositories": page}}}).encode()
    answer = canned(200, [("Date", format_datetime(LATER, usegmt=True))], body)
    with serving(lambda: answer) as url, github_source(url) as source:
        yield source


def test_a_list_that_stays_shorter_than_its_count_is_none() -> None:
    with (
        answering(2, NODE) as source,
        pytest.raises(SourceUnavailable, match=r"acme/\*: GitHub counts 2 repositories, and lists 1"),
    ):
        source.list_owner("acme/*")
    assert LISTINGS > 1


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        (None, "cannot be used"),
        (NODE | {"isArchived": None}, "isArchived"),
        (NODE | {"nameWithOwner": "beta/a"}, "lists beta/a among"),
    ],
)
def test_a_repository_that_nobody_can_tell_from_another_spoils_the_list(node: object, problem: str) -> None:
    with answering(1, node) as source, pytest.raises(SourceUnavailable, match=problem):
        source.list_owner("acme/*")


def test_an_owner_that_github_does_not_show_is_refused_with_what_to_check(github: Simulator) -> None:
    with pytest.raises(SourceRefused, match="no such owner to these credentials: check the name in source_refs"):
        listed(github, "nobody/*")


def test_an_owner_of_nothing_is_refused() -> None:
    with answering(0) as source, pytest.raises(SourceRefused, match="no repository of it to these credentials"):
        source.list_owner("acme/*")


def test_a_page_that_is_too_heavy_is_asked_for_in_halves(github: Simulator) -> None:
    github.faults.when(lambda _: True, HeavyPage(page_size_over=60))
    assert len(names(listed(github))) == 250
