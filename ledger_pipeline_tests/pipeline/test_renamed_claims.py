"""A claimed repository that is renamed stays claimed: from what GitHub answers to what an archive proves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.core.repository_names import NO_NAMES
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.pipeline.next_step import spec_differences
from ledger_pipeline.pipeline.selection import blocks_selection, select_events
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, World
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.archive import read_archive, write_archive
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.routing_laws import routing_differences
from ledger_pipeline.verification.selection_laws import selection_differences
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID
from ledger_pipeline_tests.defs.deployment import write_project, write_repo_spec
from ledger_pipeline_tests.pipeline.collecting import HOUR, NOW, Collect, stored_ids
from ledger_pipeline_tests.pipeline.test_routing import AFTER_GRACE, DAY, NEXT_WEEK, counted, epoch_of, selected_now
from ledger_pipeline_tests.sources.simulator.worlds import NAME, issue, merged, repository, review

RENAMED = "other-owner/renamed"
EARLY = (
    merged(1, NOW - HOUR, labels=("documentation",), reviews=(review(1, NOW - HOUR),)),
    issue(2, closures=(Closure(NOW - HOUR),)),
)
LATE = (merged(3, NOW + HOUR, labels=("documentation",)), issue(4, closures=(Closure(NOW + HOUR),)))
OF_DOCS = {"pr:1", "review:1:4000000001", "pr:3"}
OF_DEFAULT = {"issue:2", "issue:4"}


def load(folder: Path, of_default: str = NAME, of_docs: str = NAME) -> tuple[Scope, Scope]:
    """`default` has the rest of what `docs` claims by a label, each by the name that it knows."""
    path = write_repo_spec(folder, of_default)
    project = write_project(folder, "docs", of_docs, scope_id=OTHER_SCOPE_ID)
    claims = f"  claims: [{{repository: {of_docs}, labels: [documentation]}}]\n"
    project.write_text(project.read_text() + claims)
    default, docs = load_repo_spec(path).scopes
    return default, docs


def renamed(*items: Any, **facts: Any) -> World:
    return World((repository(*items, name=RENAMED, former_names=(NAME,), **facts),))


def kept(ledger: PostgresLedger, scope: Scope) -> set[str]:
    """The items that count in the scope, whatever their repository was called."""
    select_events(ledger, scope, epoch_of(ledger, scope))
    return {name.replace(f":{RENAMED}", "") for name, reason in counted(ledger, scope).items() if reason[0] == "+"}


@pytest.mark.parametrize("names", [(NAME, NAME), (RENAMED, NAME), (NAME, RENAMED), (RENAMED, RENAMED)])
@pytest.mark.parametrize("first", [(0, 1), (1,)])
def test_each_event_counts_once_when_the_repository_is_renamed_between_two_polls(
    github: Simulator,
    ledger: PostgresLedger,
    run: Collect,
    tmp_path: Path,
    names: tuple[str, str],
    first: tuple[int, ...],
) -> None:
    scopes = load(tmp_path)
    github.replace_world(World((repository(*EARLY),)))
    for number in first:
        run(of=scopes[number])
    github.replace_world(renamed(*EARLY, *LATE))
    github.set_clock(NOW + 2 * HOUR)
    scopes = load(tmp_path, *names)
    for scope in scopes:
        run(of=scope)
    assert (kept(ledger, scopes[0]), kept(ledger, scopes[1])) == (OF_DEFAULT, OF_DOCS)


def test_a_scope_that_names_no_claimed_repository_decides_nothing(
    github: Simulator, ledger: PostgresLedger, run: Collect, tmp_path: Path
) -> None:
    default, _ = load(tmp_path, of_default="cogni-dao/other")
    github.replace_world(World((repository(*EARLY, name="cogni-dao/other", database_id=2), repository())))
    run(of=default)
    select_events(ledger, default, epoch_of(ledger, default))
    assert counted(ledger, default) == {}


def test_scopes_that_close_before_and_after_a_rename_say_the_same_and_their_archives_prove_it(
    github: Simulator, ledger: PostgresLedger, run: Collect, tmp_path: Path
) -> None:
    default, _ = load(tmp_path)
    github.replace_world(World((repository(*EARLY, *LATE),)))
    github.set_clock(AFTER_GRACE)
    run(of=default)
    run([NEXT_WEEK], of=default)
    assert len(close_due_epochs(ledger, default)) == 1
    # The other scope reads all of it under the new name only, and a repository under the old one beside it. Nothing
    # that is labelled since changes which of the two pays.
    relabelled = (merged(1, NOW - HOUR, reviews=(review(1, NOW - HOUR),)), EARLY[1], *LATE)
    github.replace_world(World((*renamed(*relabelled).repositories, repository(database_id=2))))
    github.set_clock(AFTER_GRACE + DAY)
    docs = load(tmp_path, of_docs=RENAMED)[1]
    run(of=docs)
    run([NEXT_WEEK], of=docs)
    assert len(close_due_epochs(ledger, docs)) == 1
    assert kept(ledger, default) == OF_DEFAULT
    assert kept(ledger, docs) == OF_DOCS
    for scope in (default, docs):
        epoch = epoch_of(ledger, scope)
        assert blocks_selection(epoch, selected_now(ledger, epoch)) == []
        archive = tmp_path / f"{scope.scope_key}.zip"
        write_archive(facts_of(ledger.statements.rows(epoch)), archive)
        archived = read_archive(archive).facts
        for differences in (routing_differences, selection_differences):
            assert list(differences(ExaminedEpoch(archived))) == []
    # The last one closed under two names: without them the archive would prove something else.
    assert archived.pinned_spec["selection"]["routing"]["names"] == {RENAMED: NAME}
    forgotten = json.loads(json.dumps(archived.pinned_spec))
    del forgotten["selection"]["routing"]["names"]
    rows = [
        row.model_copy(
            update={"routed_by": {name: row.routed_by[name] for name in row.routed_by if name != "repository"}}
        )
        for row in archived.routing
    ]
    nameless = archived.model_copy(update={"pinned_spec": forgotten, "routing": rows})
    differing = [difference.where for difference in routing_differences(ExaminedEpoch(nameless))]
    assert differing[1:] == [f"routing {event.id}" for event in archived.events]


def test_a_name_that_a_repository_never_had_blocks_a_statement(
    github: Simulator, ledger: PostgresLedger, run: Collect, tmp_path: Path
) -> None:
    default, _ = load(tmp_path)
    github.replace_world(renamed(*EARLY))
    run(of=default)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=default)
    assert len(close_due_epochs(ledger, default)) == 1
    epoch = epoch_of(ledger, default)
    assert epoch.pins is not None
    spec = json.loads(json.dumps(epoch.pins.pinned_spec))
    assert spec["selection"]["routing"]["names"] == {NAME: RENAMED}
    spec["selection"]["routing"]["names"]["acme/foreign"] = RENAMED
    forged = replace(epoch, pins=replace(epoch.pins, pinned_spec=spec))
    [block] = blocks_selection(forged, selected_now(ledger, epoch))
    assert block.startswith("it closed with 'acme/foreign' as a name of a repository that has another: have the owner")


def test_the_repo_spec_of_after_a_rename_is_no_other_than_the_epoch_closed_with(
    github: Simulator, ledger: PostgresLedger, run: Collect, tmp_path: Path
) -> None:
    _, docs = load(tmp_path)
    github.replace_world(World((repository(*EARLY),)))
    run(of=docs)
    github.set_clock(AFTER_GRACE)
    run([NEXT_WEEK], of=docs)
    assert len(close_due_epochs(ledger, docs)) == 1
    github.replace_world(World((*renamed(*EARLY).repositories, repository(name="acme/foreign", database_id=2))))
    docs = load(tmp_path, RENAMED, RENAMED)[1]
    run([NEXT_WEEK], of=docs, full_refresh=True)
    epoch = epoch_of(ledger, docs)
    assert spec_differences(docs, epoch, ledger.selection.known_names) == []
    unknown = spec_differences(docs, epoch, lambda: NO_NAMES)
    assert [(difference.name, difference.pays) for difference in unknown] == [
        ("selection", True), ("activity_sources", True)
    ]  # fmt: skip
    foreign = load(tmp_path, RENAMED, "acme/foreign")[1]
    strange = spec_differences(foreign, epoch, ledger.selection.known_names)
    assert {difference.name for difference in strange if difference.pays} >= {"activity_sources"}


def test_what_was_excluded_of_an_owner_is_not_collected_under_another_name(
    github: Simulator, ledger: PostgresLedger, run: Collect, tmp_path: Path
) -> None:
    path = write_repo_spec(tmp_path, '"cogni-dao/*"')
    path.write_text(path.read_text().replace("source_refs:", "exclude: [cogni-dao/secret]\n      source_refs:"))
    secret = repository(*EARLY, name="cogni-dao/secret", database_id=2)
    github.replace_world(World((repository(*LATE), secret)))
    github.set_clock(NOW + 2 * HOUR)
    scope = load_repo_spec(path).default_scope
    run(of=scope)
    hidden = replace(secret, name_with_owner="cogni-dao/hidden", former_names=("cogni-dao/secret",))
    github.replace_world(World((repository(*LATE), hidden)))
    github.set_clock(NOW + 3 * HOUR)
    run(of=scope, full_refresh=True)
    assert set(stored_ids(ledger)) == {f"github:pr:{NAME}:3", f"github:issue:{NAME}:4"}
