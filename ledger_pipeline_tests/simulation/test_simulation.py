"""Ten seeds of the simulation hold; it notices when a collector or a database is wrong; a seed is a seed."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.simulation.__main__ import main
from ledger_pipeline_tests.simulation.ledger_rows import read_ledger
from ledger_pipeline_tests.simulation.run import Sabotage, Simulation, Stage, github_and_ledger, simulate
from ledger_pipeline_tests.simulation.sabotage import COLLECTORS, DATABASES, ROUTES, damage
from ledger_pipeline_tests.simulation.several_scopes import simulate_scopes

SEEDS = 10  # `.ci/run` has `make simulate` go on from there
BATCH = 5  # so that pytest-xdist spreads them
# The seed that noticed last time is tried first: the search from zero gave each of these.
NOTICED_BY = {
    "no overlap": 90,
    "floor from the window only": 5,
    "a failed scan counts as finished": 13,
    "a scan stops at a limit": 4,
    "cursor saved before the pages": 6,
    "nested reviews not followed": 20,
    "events before the floor dropped": 1,
    "cursor is the time the scan ended": 3,
    "coverage claimed that was not read": 1,
    "renamed objects not recognised": 25,  # others end in an error of the database first
    "refused events dropped in silence": 4,
    "late events stored all the same": 15,
    "facts are not updated": 0,
    "stored events change": 4,
}
# By the story of several scopes.
ROUTES_NOTICED_BY = {
    "label claim ignored": 0,
    "paths not asked for": 1,
    "co-author lost": 0,
    "co-author's part dropped": 0,
    "rename ignored": 11,
}
SCOPES_SEEDS = 4
SEARCHED = 100

NewStage = Callable[[], AbstractContextManager[Stage]]


@pytest.fixture(scope="module")
def new_stage(postgres_server: str, migrated_template: str) -> NewStage:
    @contextmanager
    def on_a_database_of_its_own() -> Iterator[Stage]:
        with fresh_database(postgres_server, migrated_template) as url, github_and_ledger(url) as stage:
            yield stage

    return on_a_database_of_its_own


@pytest.fixture(scope="module")
def stage(new_stage: NewStage) -> Iterator[Stage]:
    with new_stage() as stage:
        yield stage


def first_failure(stage: Stage, wrong: str, sabotage: Sabotage | None = None) -> str:
    """What the first seed that fails says."""
    for seed in (NOTICED_BY.get(wrong, 0), *range(SEARCHED)):
        try:
            simulate(seed, stage, sabotage)
        except AssertionError as failure:
            return str(failure)
    pytest.fail("no seed noticed")


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_after_healing_the_ledger_is_the_worlds_truth(stage: Stage, first: int) -> None:
    for seed in range(first, first + BATCH):
        simulate(seed, stage)


def test_the_laws_hold_with_repositories_read_side_by_side(stage: Stage) -> None:
    for seed in range(SEEDS):
        simulate(seed, stage, concurrency=4)


@pytest.mark.e2e  # until a seed shows it
@pytest.mark.parametrize("wrong", COLLECTORS)
def test_a_wrong_collector_is_noticed(stage: Stage, wrong: str) -> None:
    failure = first_failure(stage, wrong, COLLECTORS[wrong])
    law = (
        "went back|coverage shrank" if wrong == "the last cursor saved wins" else "lost although|lost: |not kept aside"
    )
    assert re.search(law, failure.splitlines()[0])


def test_scopes_that_share_repositories_decide_as_the_world_says(stage: Stage) -> None:
    for seed in range(SCOPES_SEEDS):
        simulate_scopes(seed, stage)


def test_a_repository_that_is_renamed_twice_is_asked_for_its_paths_by_its_new_name(stage: Stage) -> None:
    simulate_scopes(49, stage)


@pytest.mark.parametrize("wrong", ROUTES_NOTICED_BY)
def test_wrong_routing_is_noticed(new_stage: NewStage, wrong: str) -> None:
    with new_stage() as stage:
        if wrong not in ROUTES:
            damage(stage.engine, wrong)
        law = {"co-author lost": "has not|shares out", "co-author's part dropped": "shares out .*, not"}.get(
            wrong, "has .* of .*, not|shares out .*, not"
        )
        with pytest.raises(AssertionError, match=law):
            simulate_scopes(ROUTES_NOTICED_BY[wrong], stage, ROUTES.get(wrong))


@pytest.mark.parametrize("wrong", sorted(DATABASES.keys() - ROUTES_NOTICED_BY.keys()))
def test_a_wrong_database_is_noticed(new_stage: NewStage, wrong: str) -> None:
    law = {
        "renamed objects not recognised": "stored twice, under two names",
        "refused events dropped in silence": "(not|nor) kept aside",
        "late events stored all the same": "rejected as late, and stored",
        "facts are not updated": "facts of .* say",
        "stored events change": "never had|says|became|rejected as conflict, and stored",
    }[wrong]
    with new_stage() as stage:
        damage(stage.engine, wrong)
        assert re.search(law, first_failure(stage, wrong).splitlines()[0])


def test_a_failure_names_its_seed_the_steps_and_how_to_replay_it(stage: Stage) -> None:
    failure = first_failure(stage, "a scan stops at a limit", COLLECTORS["a scan stops at a limit"])
    [seed] = re.findall(r"^seed (\d+): ", failure)
    assert f"python -m ledger_pipeline_tests.simulation --seed {seed}" in failure
    assert "  1. " in failure
    assert "collect(windows" in failure


@pytest.mark.parametrize("seed", [3, 19, 20])
def test_a_seed_gives_the_same_run_every_time(stage: Stage, seed: int) -> None:
    runs = []
    for _ in range(2):
        simulation = Simulation(seed, stage)
        simulation.run()
        ledger = read_ledger(stage.engine, simulation.scope.scope_id)
        rejected = sorted((row.id, row.payload_hash, row.reason) for row in ledger.rejected)
        runs.append((simulation.done, sorted((row.id, row.retrieved_at) for row in ledger.events.values()), rejected))
    assert runs[0] == runs[1]


def test_some_seeds_have_two_collectors_at_once(stage: Stage) -> None:
    assert any(len(step.collections) == 2 for seed in (3, 19, 20) for step in Simulation(seed, stage).schedule)


def test_the_command_says_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2"]) == 0
    assert re.fullmatch(r"2 seeds hold, \d+\.\d\d s each\n", capsys.readouterr().out)
