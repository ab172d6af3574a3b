"""The root of an epoch's inputs: another whenever one of them is, the same in whatever order the rows come."""

import pytest

from ledger_pipeline.verification.inputs_root import LISTS, inputs_root
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.verification.facts import changed, finalized, with_spec


def test_the_root_is_this_one_for_ever() -> None:
    assert inputs_root(finalized()) == "46421fec2ad13eef1dc765ed1f7f96ec13fa8594c70315d15e808cc103fec143"


def test_a_replaced_event_keeps_every_signature_good_and_changes_the_root() -> None:
    facts = finalized()
    changed_facts = changed(facts, "events", 0, artifact_url="https://github.com/acme/other/pull/1")
    assert verify(changed_facts) == []
    assert inputs_root(changed_facts) != inputs_root(facts)


@pytest.mark.parametrize(
    "changed_facts",
    [
        changed(finalized(), "curation", 0, note="as agreed"),
        changed(finalized(), "allocations", 0, override_reason="as agreed"),
        changed(finalized(), "pool", 1, evidence_ref="https://vote.example/43"),
        with_spec(finalized(), auto_close_grace_hours=1),
    ],
    ids=["curation", "allocations", "pool", "spec"],
)
def test_whatever_an_epoch_follows_from_is_in_the_root(changed_facts: EpochFacts) -> None:
    assert inputs_root(changed_facts) != inputs_root(finalized())


def test_the_order_of_rows_and_the_signing_do_not_matter() -> None:
    facts = finalized()
    turned = facts.model_copy(update={name: list(reversed(getattr(facts, name))) for name in LISTS})
    signed_again = finalized(amended=True)
    assert inputs_root(turned) == inputs_root(signed_again) == inputs_root(facts)
