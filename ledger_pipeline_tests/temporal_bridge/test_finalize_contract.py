"""The id of a finalization: nobody waits for the result of another one than their own."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.testing import ActivityEnvironment

from ledger_pipeline.settings import Settings
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.temporal_bridge.finalization import finalize_workflow_id
from ledger_pipeline.temporal_bridge.ledger_activities.finalization import FinalizeActivities
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.verification.verify import Examination
from ledger_pipeline_tests.builders import REPO, SCOPE_ID
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.pipeline.test_chain import twin
from ledger_pipeline_tests.pipeline.test_signed_inputs import about_inputs, facts
from ledger_pipeline_tests.store.settlement import APPROVER, APPROVERS, POOL, SECOND_APPROVER, reviewed
from ledger_pipeline_tests.temporal import run_activity


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
    of_inputs = APPROVER.sign("inputs")
    with_inputs = finalize_workflow_id(SCOPE_ID, 7, signature, None, of_inputs)
    assert with_inputs != workflow_id()
    assert with_inputs == finalize_workflow_id(SCOPE_ID, 7, signature, None, twin(of_inputs))
    assert finalize_workflow_id(SCOPE_ID, 7, signature, None, None, True) != workflow_id()


def test_a_payload_may_bring_a_signature_of_the_inputs(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    message = books.draft().message
    payload = {
        "epochId": str(books.epoch.id),
        "signature": APPROVER.sign(message),
        "inputsSignature": APPROVER.sign(about_inputs(books, message)),
    }
    with closing(WorkerThreads()) as threads:
        activities = FinalizeActivities(books.spec, ledger, threads.settling)

        async def twice() -> list[dict[str, Any]]:
            return [await run_activity(ActivityEnvironment(), activities.finalize_epoch, payload) for _ in range(2)]

        made, again = asyncio.run(twice())
    assert made["statementId"] == again["statementId"]
    assert Examination(facts(books)).inputs_signers() == [APPROVER.address]


def test_a_payload_may_accept_what_the_epoch_closed_with(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    payload = {"epochId": str(books.epoch.id), "signature": books.signature(), "acceptPinnedSpec": True}
    edited = books.with_scope(base_issuance_credits=POOL + 1)
    with closing(WorkerThreads()) as threads:
        activities = FinalizeActivities(edited.spec, ledger, threads.settling)
        made = asyncio.run(run_activity(ActivityEnvironment(), activities.finalize_epoch, payload))
    assert made["poolTotalCredits"] == str(POOL)


def test_without_a_worker_the_command_says_so_and_ends(
    command: Command, temporal_namespace: Settings, ledger: PostgresLedger, ledger_url: str, tmp_path: Path
) -> None:
    books = reviewed(ledger)
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    ran = command(
        *("epoch", "finalize", "--epoch", "2026-02-16", "--signature", books.signature(), "--timeout-seconds", "3"),
        DATABASE_URL=ledger_url,
        LEDGER_REPO_SPEC=str(spec),
        TEMPORAL_ADDRESS=temporal_namespace.temporal_address,
        TEMPORAL_NAMESPACE=temporal_namespace.temporal_namespace,
    )
    assert ran.code == 1
    nobody = "nobody polls ledger-tasks for workflow and activity tasks: start `ledger-pipeline worker`"
    assert f"waiting: {nobody}\n" in ran.err
    assert f"has no result after 3 s: {nobody}. It goes on by itself" in ran.err
