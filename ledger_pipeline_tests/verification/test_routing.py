"""What an archive proves of claims: each part of an event follows from pinned claims, labels and paths, all in it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.core.routing_pins import shares_hash
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.archive import archive_bytes, read_archive
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.routing_laws import stated_shares
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import PRODUCER, REPO, SCOPE_ID, instant
from ledger_pipeline_tests.pipeline.test_selection import AGAIN, DROPPED, MERGED, OWN, choice, fair
from ledger_pipeline_tests.store.settlement import Books
from ledger_pipeline_tests.verification.facts import changed, with_rows, with_spec, without

DOCS = Claim("docs", paths=("docs/**",), labels=("documentation",))
CLAIMED = ClaimedRepository(REPO, (DOCS, Claim("site", labels=("site",))), "default")
BY_SITE = {"labels": ["site"], "paths": []}


def settled(ledger: PostgresLedger, claimed: ClaimedRepository = CLAIMED) -> Books:
    """An epoch of `default`, of which MERGED is for `docs` by its label and its path."""
    routing = Routing("default", (claimed,))
    books = fair(ledger, replace(choice("include-all-v0", {}), routing=routing))
    facts = PullRequestFacts(labels=("Documentation", "bug"), changed_paths=("src/x", "docs/b", "docs/a"))
    ledger.facts.record(SCOPE_ID, [Observation(MERGED.id, facts)], instant("2026-02-25"), PRODUCER)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    return books


@pytest.fixture
def epoch(ledger: PostgresLedger) -> EpochFacts:
    return facts_of(ledger.statements.rows(settled(ledger).epoch))


def row_of(epoch: EpochFacts, event_id: str) -> int:
    return next(number for number, row in enumerate(epoch.routing) if row.event_id == event_id)


def differences(epoch: EpochFacts) -> list[str]:
    return [str(difference) for difference in verify(epoch)]


def closed_with(epoch: EpochFacts) -> EpochFacts:
    """As whoever closes an epoch can make it: the spec has the hash of the parts that are stated."""
    spec = json.loads(json.dumps(dict(epoch.pinned_spec)))
    spec["selection"]["routing"]["shares_hash"] = shares_hash(stated_shares(epoch))
    return with_spec(epoch, selection=spec["selection"])


def test_each_part_is_in_the_archive_with_the_labels_and_paths_that_it_follows_from(epoch: EpochFacts) -> None:
    row = epoch.routing[row_of(epoch, MERGED.id)]
    assert (row.share_milli, row.reason) == (0, "other_scope:docs")
    assert row.routed_by == {"labels": ["Documentation"], "paths": ["docs/a"]}
    assert {row.event_id for row in epoch.routing} == {event.id for event in epoch.events}
    assert verify(epoch) == []
    assert inputs_root(with_rows(epoch, "routing", ())) != inputs_root(epoch)


def test_it_is_read_from_the_file_as_it_was_written(epoch: EpochFacts, tmp_path: Any) -> None:
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(epoch))
    read = read_archive(file)
    assert (read.damages, verify(read.facts)) == ((), [])
    assert inputs_root(read.facts) == inputs_root(epoch)


def test_a_part_that_does_not_follow_is_named_with_both_and_what_it_follows_from(epoch: EpochFacts) -> None:
    forged = closed_with(changed(epoch, "routing", row_of(epoch, MERGED.id), share_milli=1000, reason="rest"))
    assert differences(forged)[0] == (
        f"routing {MERGED.id}: stated 1000 / 1000 (rest), but 0 / 1000 (other_scope:docs) follows from "
        "labels ['Documentation'] and paths ['docs/a']"
    )
    [of_hash, of_routing, of_selection, *_] = differences(
        changed(epoch, "routing", row_of(epoch, MERGED.id), share_milli=1000, reason="rest")
    )
    assert of_hash.startswith("repo-spec selection routing shares_hash: stored ")
    assert of_routing.startswith(f"routing {MERGED.id}: ")
    assert of_selection.startswith(f"selection {MERGED.id}: stated left out (other_scope:docs), but counts (")


def test_other_labels_and_claims_give_other_parts(epoch: EpochFacts) -> None:
    unlabelled = closed_with(changed(epoch, "routing", row_of(epoch, MERGED.id), routed_by={"labels": [], "paths": []}))
    assert differences(unlabelled)[0].endswith("but 1000 / 1000 (rest) follows from labels [] and paths []")
    strange = closed_with(
        changed(epoch, "routing", row_of(epoch, MERGED.id), routed_by={"labels": ["bug"], "paths": ["docs/a"]})
    )
    assert differences(strange)[0] == (
        f"routing {MERGED.id}: the claims look at others than labels ['bug'] and paths ['docs/a']"
    )
    spec = json.loads(json.dumps(dict(epoch.pinned_spec)))
    spec["selection"]["routing"]["repositories"][REPO]["claims"][0]["labels"] = []
    spec["selection"]["routing"]["repositories"][REPO]["claims"][0]["paths"] = []
    lost = differences(with_spec(epoch, selection=spec["selection"]))
    assert f"routing {DROPPED.id}: stated 1000 / 1000 (rest), but 0 / 1000 (other_scope:docs) follows" in "\n".join(
        lost
    )


def test_a_part_that_lacks_or_is_of_no_event_or_of_no_claim_is_named(epoch: EpochFacts) -> None:
    lacking = closed_with(without(epoch, "routing", row_of(epoch, AGAIN.id)))
    assert differences(lacking)[0].startswith(
        f"routing {AGAIN.id}: scopes claim parts of its repository, and which part"
    )
    stray = epoch.routing[0].model_copy(update={"event_id": "github:pr:x/y:1"})
    assert differences(closed_with(with_rows(epoch, "routing", [*epoch.routing, stray])))[0] == (
        "routing github:pr:x/y:1: there is no such event in the epoch"
    )
    twice = with_rows(epoch, "routing", [*epoch.routing, epoch.routing[0]])
    assert differences(twice)[0] == f"routing {epoch.routing[0].event_id}: it is there 2 times"
    assert differences(changed(epoch, "routing", 0, routed_by={"reviewers": ["x"]}))[0] == (
        "routing: what is kept of labels and paths that claims looked at is none"
    )


def test_an_archive_of_before_has_its_parts_in_the_spec_and_verifies_as_it_did(epoch: EpochFacts) -> None:
    spec = json.loads(json.dumps(dict(epoch.pinned_spec)))
    del spec["selection"]["routing"]["shares_hash"]
    spec["selection"]["routing"]["shares"] = {row.event_id: [row.share_milli, row.reason] for row in epoch.routing}
    before = with_rows(with_spec(epoch, selection=spec["selection"]), "routing", ())
    assert verify(before) == []
    assert b"routing.jsonl" not in archive_bytes(before)
    spec["selection"]["routing"]["shares"][MERGED.id] = [1000, "rest"]
    forged = differences(with_spec(before, selection=spec["selection"]))
    assert f"selection {MERGED.id}: stated left out (other_scope:docs), but counts (included) follows" in forged
    both = with_rows(before, "routing", epoch.routing[:1])
    assert differences(both)[0].endswith("the epoch closed with none that is kept so")


def test_an_event_that_the_facts_in_the_archive_route_otherwise_is_warned_of(epoch: EpochFacts) -> None:
    assert [warning for warning in Examination(epoch).warnings() if warning.startswith("routing")] == []
    elsewhere = closed_with(
        changed(epoch, "routing", row_of(epoch, OWN.id), share_milli=0, reason="other_scope:site", routed_by=BY_SITE)
    )
    [warning] = [warning for warning in Examination(elsewhere).warnings() if warning.startswith("routing")]
    assert warning == (
        f"routing {OWN.id}: the facts in here would give 1000 / 1000 (rest), and it has 0 / 1000 (other_scope:site): "
        "another scope of the node knew other labels or paths when the first one closed"
    )
