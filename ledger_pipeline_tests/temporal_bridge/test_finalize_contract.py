"""The id of a finalization: nobody waits for the result of another one than their own."""

from uuid import UUID

from ledger_pipeline.temporal_bridge.finalize_contract import finalize_workflow_id
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.pipeline.test_chain import twin
from ledger_pipeline_tests.store.settlement import APPROVER, SECOND_APPROVER


def test_each_signature_has_a_workflow_of_its_own_whatever_its_spelling() -> None:
    signature = APPROVER.sign("message")

    def workflow_id(
        given: str = signature, signer: str | None = None, scope_id: UUID = SCOPE_ID, epoch: int = 7
    ) -> str:
        return finalize_workflow_id(scope_id, epoch, given, signer)

    assert workflow_id().startswith(f"ledger-finalize-{SCOPE_ID}-7-")
    assert workflow_id() == workflow_id(signature[2:].upper()) == workflow_id(twin(signature))
    others = [
        workflow_id(SECOND_APPROVER.sign("message")),
        workflow_id(signer=APPROVER.address),
        workflow_id(epoch=8),
        workflow_id("garbage"),
    ]
    assert len({workflow_id(), *others}) == 5
    assert workflow_id(signer=APPROVER.address) == workflow_id(signer=APPROVER.address.lower())
