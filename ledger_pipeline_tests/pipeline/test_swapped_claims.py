"""Two repositories take each other's name between the closings of two scopes: each event counts in one of them."""

from pathlib import Path

import pytest

from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.selection import blocks_selection, select_events
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, THIS_WEEK, Collect
from ledger_pipeline_tests.pipeline.test_routing import AFTER_GRACE, DAY, NEXT_WEEK, epoch_of, selected_now
from ledger_pipeline_tests.sources.simulator.worlds import NAME, merged, repository

OTHER = "cogni-dao/other"
LABELLED = {"labels": ("documentation",)}
OF_NAME = (merged(1, NOW - HOUR, **LABELLED), merged(2, NOW - HOUR))
OF_OTHER = (merged(11, NOW - HOUR, **LABELLED), merged(12, NOW - HOUR))
NUMBERS = {1, 2, 11, 12}


def world(*, swapped: bool) -> World:
    first, second = (OTHER, NAME) if swapped else (NAME, OTHER)
    return World(
        (
            repository(*OF_NAME, name=first),
            repository(*OF_OTHER, name=second, database_id=2),
        )
    )


@pytest.fixture
def scopes(tmp_path: Path) -> tuple[Scope, Scope]:
    """Both collect both; `docs` claims of NAME what has the label, and `default` of OTHER."""
    path = write_repo_spec(tmp_path, f"{NAME}, {OTHER}")
    path.write_text(path.read_text() + f"  claims: [{{repository: {OTHER}, labels: [documentation]}}]\n")
    project = write_project(tmp_path, "docs", f"{NAME}, {OTHER}", scope_id=OTHER_SCOPE_ID)
    project.write_text(project.read_text() + f"  claims: [{{repository: {NAME}, labels: [documentation]}}]\n")
    default, docs = load_repo_spec(path).scopes
    return default, docs


def counting(ledger: PostgresLedger, scope: Scope) -> set[int]:
    """The numbers of the items that count in the scope, of whichever repository."""
    epoch = epoch_of(ledger, scope)
    select_events(ledger, scope, epoch)
    decisions = ledger.selection.of(epoch, ()).decisions
    return {int(event_id.rpartition(":")[2]) for event_id, decision in decisions.items() if decision.included}


@pytest.mark.parametrize("both_read_before", [True, False])
def test_each_event_counts_in_one_scope_whose_repositories_swap_names_between_closings(
    github: Simulator, ledger: PostgresLedger, run: Collect, scopes: tuple[Scope, Scope], both_read_before: bool
) -> None:
    default, docs = scopes
    github.replace_world(world(swapped=False))
    run([THIS_WEEK], of=default)
    if both_read_before:
        run([THIS_WEEK], of=docs)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    assert len(close_due_epochs(ledger, default)) == 1
    github.replace_world(world(swapped=True))
    github.set_clock(AFTER_GRACE + DAY)
    run([THIS_WEEK], of=docs)
    run([NEXT_WEEK], of=docs)
    assert len(close_due_epochs(ledger, docs)) == 1
    of_default, of_docs = counting(ledger, default), counting(ledger, docs)
    assert (of_default & of_docs, of_default | of_docs) == (set(), NUMBERS)
    for scope in scopes:
        epoch = epoch_of(ledger, scope)
        assert blocks_selection(epoch, selected_now(ledger, epoch)) == []
