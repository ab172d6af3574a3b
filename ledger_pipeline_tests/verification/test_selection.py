"""What a policy decided is recomputed from an archive alone: by pinned facts and the pinned spec, and nothing else."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import VerificationFailed
from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.pipeline.test_selection import (
    AGAIN,
    DROPPED,
    ELSEWHERE,
    FACTS,
    MERGED,
    OWN,
    REASONS,
    REVIEWED,
    choice,
    fair,
)
from ledger_pipeline_tests.store.settlement import ADA_USER, finalized
from ledger_pipeline_tests.verification.facts import changed, with_rows, with_spec, without
from ledger_pipeline_tests.verification.test_archive import OFFLINE


@pytest.fixture
def epoch(ledger: PostgresLedger) -> EpochFacts:
    """An epoch that closed with fair-v1; a person let one event count, and took another decision back."""
    books = fair(ledger, choice("fair-v1", {}, "nobody-of-ours"))
    books.materialize()
    ledger.curation.judge(books.epoch, ELSEWHERE.id, Judgement("it was shipped from there", included=True))
    ledger.curation.judge(books.epoch, OWN.id, Judgement("a mistake", included=True))
    ledger.curation.judge(books.epoch, OWN.id, Judgement("as everybody else", follows_policy=True))
    books.close()
    books.materialize()
    books.finalize(books.signature())
    return facts_of(ledger.statements.rows(books.epoch))


def row_of(epoch: EpochFacts, table: str, event_id: str) -> int:
    return next(number for number, row in enumerate(getattr(epoch, table)) if row.event_id == event_id)


def differences(epoch: EpochFacts) -> list[str]:
    return [str(difference) for difference in verify(epoch)]


def test_it_is_in_the_archive_and_under_the_root_and_follows(epoch: EpochFacts, tmp_path: Path) -> None:
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(epoch))
    read = read_archive(file)
    assert (read.damages, verify(read.facts)) == ((), [])
    assert {row.event_id: f"{'+' * row.included}{row.reason}" for row in read.facts.selection} == REASONS
    assert {row.event_id for row in read.facts.facts} == {event.id for event in FACTS}
    [ada] = [account for account in Examination(read.facts).accounts() if account.user_id == ADA_USER]
    assert [event_id for events in ada.events for event_id in events.event_ids] == [MERGED.id, ELSEWHERE.id]
    roots = {inputs_root(with_rows(epoch, table, ())) for table in ("facts", "selection")}
    assert inputs_root(read.facts) == inputs_root(epoch)
    assert len(roots | {inputs_root(epoch)}) == 3


def test_it_is_recomputed_without_a_database_a_network_or_a_variable_of_ours(epoch: EpochFacts, tmp_path: Path) -> None:
    (tmp_path / "epoch.zip").write_bytes(archive_bytes(epoch))
    answer = subprocess.run(
        [sys.executable, "-c", OFFLINE, "epoch.zip"],
        cwd=tmp_path,
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout.splitlines(), answer.returncode) == (["0 0 10000", "[]"], 0), answer.stderr


def test_an_epoch_without_a_policy_has_the_archive_it_always_had(ledger: PostgresLedger) -> None:
    content = archive_bytes(facts_of(ledger.statements.rows(finalized(ledger).epoch)))
    assert [name for name in (b"facts.jsonl", b"selection", b"follows_policy") if name in content] == []


def test_each_event_that_is_decided_otherwise_is_named_with_both_reasons(epoch: EpochFacts) -> None:
    forged = changed(epoch, "selection", row_of(epoch, "selection", AGAIN.id), included=True, reason="included")
    assert differences(forged)[0] == (
        f"selection {AGAIN.id}: stated counts (included), but left out (repeated_review) follows"
    )
    weighed = changed(epoch, "selection", row_of(epoch, "selection", MERGED.id), weight_factor_milli=2000)
    assert differences(weighed)[0].endswith(
        "stated counts (included, weight times 2000 / 1000), but counts (included) follows"
    )
    missing = without(epoch, "selection", row_of(epoch, "selection", DROPPED.id))
    assert differences(missing)[0].endswith("stated no decision, but left out (not_completed) follows")


def observed(epoch: EpochFacts, event_id: str, facts: Mapping[str, str], facts_hash: str | None = None) -> EpochFacts:
    """`epoch` with other facts of an event; with their own hash where none is given."""
    columns = {"facts": dict(facts), "facts_hash": facts_hash or sha256_hex(dict(facts))}
    rows = [row.model_copy(update=columns) if row.event_id == event_id else row for row in epoch.facts]
    return with_rows(epoch, "facts", rows)


def test_other_facts_decide_otherwise_and_have_another_hash(epoch: EpochFacts) -> None:
    completed = {"eventType": "issue_closed", "stateReason": "COMPLETED"}
    decided = f"selection {DROPPED.id}: stated left out (not_completed), but counts (included) follows"
    [of_all, of_selection] = differences(observed(epoch, DROPPED.id, completed))
    assert of_all.startswith(f"epoch facts_set_hash: stored {epoch.epoch.facts_set_hash}, but ")
    assert of_selection == decided
    [of_all, of_hash, of_selection] = differences(observed(epoch, DROPPED.id, completed, "0" * 64))
    assert of_hash.startswith(f"facts {DROPPED.id}: stored {'0' * 64}, but ")
    assert of_selection == decided
    [_, unreadable, *_] = differences(observed(epoch, DROPPED.id, {"eventType": "x"}))
    assert unreadable.startswith(f"selection: the facts of {DROPPED.id} cannot be read")
    stray = with_rows(epoch, "facts", [*epoch.facts, epoch.facts[0].model_copy(update={"event_id": "github:pr:x:1"})])
    assert differences(stray)[1:] == ["facts github:pr:x:1: there is no such event in the epoch"]
    [of_all, *_] = differences(with_rows(epoch, "facts", ()))
    assert of_all.startswith("epoch facts_set_hash: ")


@pytest.mark.parametrize(
    ("event_id", "changes", "says"),
    [
        (OWN.id, {"hasBody": False}, "hasBody is false, and was true"),
        (OWN.id, {"labels": ["x" * 400]}, 'labels is ["' + "x" * 298 + "..., and was not there"),
        (DROPPED.id, {"stateReason": "COMPLETED"}, "stored "),
    ],
)
def test_a_field_that_was_changed_is_named_with_both_values_where_they_are_known(
    epoch: EpochFacts, event_id: str, changes: dict[str, object], says: str
) -> None:
    rows = [
        row.model_copy(update={"facts": {**row.facts, **changes}}) if row.event_id == event_id else row
        for row in epoch.facts
    ]
    [named] = [line for line in differences(with_rows(epoch, "facts", rows)) if line.startswith(f"facts {event_id}")]
    assert named.removeprefix(f"facts {event_id}: ").startswith(says)


def test_other_settings_and_ids_that_are_missing_are_told(epoch: EpochFacts) -> None:
    pinned = epoch.pinned_spec["selection"]
    lenient = with_spec(epoch, selection={**pinned, "settings": {**pinned["settings"], "own_reviews": True}})
    assert differences(lenient) == [
        f"selection {OWN.id}: stated left out (own_pull_request), but counts (included) follows"
    ]
    excluding = with_spec(epoch, selection={**pinned, "excluded_logins": ["GRACE"]})
    assert differences(excluding)[0] == (
        "repo-spec selection excluded_ids 1024025: an excluded login has it, and it was not pinned as excluded"
    )
    assert f"selection {REVIEWED.id}: stated counts (included), but left out (excluded_account) follows" in differences(
        excluding
    )
    assert differences(with_spec(epoch, selection={"policy": "fair-v1"}))[0].startswith("repo-spec selection: what")
    spec = {key: value for key, value in epoch.pinned_spec.items() if key != "selection"}
    nobodys = differences(epoch.model_copy(update={"pinned_spec": spec}))
    assert "the epoch closed with no policy that could decide" in nobodys[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": "acme.v1", "distribution": "acme"}, "selection policy 'acme.v1' is not installed: there is"),
        ({"version": "9", "distribution_version": "2.0"}, "was version '9' of 'ledger-pipeline', and here it is"),
        ({"distribution": "acme"}, "of 'acme', and here it is version '1' of 'ledger-pipeline': install 'acme'"),
    ],
)
def test_a_policy_that_is_not_installed_is_refused_and_nothing_is_said_to_be_good(
    epoch: EpochFacts, command: Command, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    foreign = with_spec(epoch, selection={**epoch.pinned_spec["selection"], **changes})
    with pytest.raises(VerificationFailed, match="nobody can recompute here which events count"):
        verify(foreign)
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(foreign))
    answer = command("verify", "--archive", str(file))
    assert answer.code == 1
    assert says in answer.err
    assert "every number follows" not in answer.out
