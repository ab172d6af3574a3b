"""From a Temporal workflow to an archive that anybody verifies: one epoch, as people do it, on the whole stack."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from dagster_graphql import DagsterGraphQLClient

from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.dagster_contract import (
    ALLOCATE_EPOCH_JOB,
    EVERY_SOURCE_SCOPE_READ,
    NOTHING_REJECTED,
    STATE_PAYOUTS_JOB,
    STATEMENT_RECOMPUTES,
    format_partition_key,
    partition_tags,
)
from ledger_pipeline_tests.builders import SCOPE_ID
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.sources.simulator.worlds import ANA
from ledger_pipeline_tests.store.settlement import APPROVER, POOL, STRANGER
from ledger_pipeline_tests.temporal_bridge.stack import Stack
from ledger_pipeline_tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("worker", "no_faults"), pytest.mark.timeout(240)]

NO_RUN = ""  # whose a result is that somebody reports
OFFLINE = """
import socket, sys
def refuse(*_): raise OSError("no network here")
socket.socket.connect = refuse
from ledger_pipeline.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def run_in_dagster(stack: Stack, job: str, week: EpochWindow) -> None:
    """One real run of the job for the epoch."""
    host, port = stack.services.url.removeprefix("http://").split(":")
    client = DagsterGraphQLClient(host, port_number=int(port))
    run_id = client.submit_job_execution(
        job,
        repository_location_name="ledger_pipeline",
        repository_name="__repository__",
        tags=partition_tags(week.key, "default"),
    )
    assert stack.ended(run_id).status == "SUCCESS"


def shown_in_dagster(stack: Stack, asset: str, week: EpochWindow) -> dict[str, Any]:
    """The numbers and texts of a partition's latest materialization, as the asset's page shows them."""
    query = """
        query($key: AssetKeyInput!, $partitions: [String!]) { assetOrError(assetKey: $key) { ... on Asset {
            assetMaterializations(partitions: $partitions, limit: 1) { metadataEntries {
                label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } } } } } }
    """
    variables = {"key": {"path": [asset]}, "partitions": [format_partition_key(week.key, "default")]}
    answer = requests.post(
        f"{stack.services.url}/graphql", json={"query": query, "variables": variables}, timeout=30
    ).json()
    [materialization] = answer["data"]["assetOrError"]["assetMaterializations"]
    return {
        entry["label"]: entry["intValue"] if "intValue" in entry else entry.get("text")
        for entry in materialization["metadataEntries"]
    }


def checked_in_dagster(stack: Stack, asset: str, check: str, week: EpochWindow) -> tuple[str, str, str]:
    """The latest result of a partition's check: of which run it is, its status, and what it says.

    A run that a sensor launched meanwhile has it planned: its result is waited for.
    """
    query = """
        query($key: AssetKeyInput!, $check: String!, $partition: String!) {
            assetCheckExecutions(assetKey: $key, checkName: $check, partition: $partition, limit: 1) {
                runId status evaluation { description } } }
    """
    partition = format_partition_key(week.key, "default")
    variables = {"key": {"path": [asset]}, "check": check, "partition": partition}

    def result() -> tuple[str, str, str] | None:
        answer = requests.post(
            f"{stack.services.url}/graphql", json={"query": query, "variables": variables}, timeout=30
        ).json()
        [execution] = answer["data"]["assetCheckExecutions"]
        evaluation = execution["evaluation"]
        return evaluation and (execution["runId"], execution["status"], evaluation["description"])

    return eventually(result)


ANAS_ACCOUNT = f"identity:github:{ANA.database_id}"


def offline(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with no environment, no database and no network."""
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, *arguments], capture_output=True, text=True, env={}, check=False, timeout=120
    )


def test_an_epoch_from_collection_to_a_verified_archive(stack: Stack, command: Command, tmp_path: Path) -> None:
    week = stack.next_week()
    assert stack.event_ids(week) == []
    of_epoch = ("--epoch", week.key)

    def ledger(*arguments: str) -> Ran:
        return command(*arguments, **stack.environment)

    def ok(*arguments: str) -> Ran:
        ran = ledger(*arguments)
        assert ran.code == 0, ran.err
        return ran

    # Collected through Temporal; the epoch is long over and read, so it closes by itself.
    assert "pull_requests" in ok("trigger", "--as-of", week.key, "--wait").out
    shown = ok("epoch", "show", *of_epoch, "--json").json
    assert (shown["status"], shown["allocation_algo_ref"]) == ("review", "weight-sum-v0")
    assert any("nobody has units" in block for block in shown["blocks_next_step"])

    # Somebody unknown did something: who, and what is at stake.
    [account] = ok("identities", "unresolved", *of_epoch, "--json").json
    assert (account["login"], account["external_id"], account["events"]) == ("ana", str(ANA.database_id), 3)
    assert account["units_milli"] == "1800"
    bindings = tmp_path / "bindings.csv"
    bindings.write_text(f"external_id,user_id\n{ANA.database_id},user-ana\n")
    assert ok("identities", "import", str(bindings)).out.startswith("1 bound, 0 were so already; ")
    run_in_dagster(stack, ALLOCATE_EPOCH_JOB, week)
    # Whoever is linked while it is in review moves no credit of it: the share stays the account's.
    assert ok("identities", "unresolved", *of_epoch, "--json").json == [account]

    # Reviewed: one event counts for less, another person gets units by hand, and the pool is locked.
    pull_request = next(event_id for event_id in stack.event_ids(week) if event_id.startswith("github:pr:"))
    ok("allocations", "propose", *of_epoch)
    ok("curate", *of_epoch, "--event", pull_request, "--weight-milli", "700", "--note", "half of it was generated")
    ok("allocations", "set", *of_epoch, "--user", "user-bo", "--units-milli", "500", "--reason", "ran the release")
    # Dagster shows it at once, and not only after the next run.
    held = shown_in_dagster(stack, "epoch_allocations", week)
    assert (held["users"], held["accounts_without_a_user"], held["total_units"]) == (1, 1, "2")
    assert held["trigger"] == "ledger-pipeline allocations set"
    late = ledger(
        "pool",
        "add",
        *of_epoch,
        "--component",
        "top_up",
        "--amount-credits",
        "5",
        "--evidence",
        "https://vote.example/1",
    )
    assert late.code == 1
    assert "is locked: it is in review" in late.err
    run_in_dagster(stack, ALLOCATE_EPOCH_JOB, week)
    allocations = {row["user_id"]: row for row in ok("allocations", "list", *of_epoch, "--json").json}
    assert allocations[ANAS_ACCOUNT]["proposed_units_milli"] == "1500"
    assert allocations["user-bo"]["final_units_milli"] == "500"

    # Signed. A stranger's signature is refused with its own error and writes nothing.
    message = ok("epoch", "sign-data", *of_epoch).out
    assert message.startswith("Cogni Payout Statement v1\nNode: ")
    assert message.endswith(f"Pool Total: {POOL}")
    refused = ledger("epoch", "finalize", *of_epoch, "--signature", STRANGER.sign(message))
    assert refused.code == 1
    assert f"recovers to {STRANGER.address}, no approver of default" in refused.err
    assert ok("epoch", "show", *of_epoch, "--json").json["statements"] == []
    finalize = ("epoch", "finalize", *of_epoch, "--signature", APPROVER.sign(message), "--json")
    first = ok(*finalize).json
    assert first["outcome"] == "stated"
    told_of = shown_in_dagster(stack, "payout_statement", week)
    assert told_of["statement_id"] == first["statement_id"]
    assert shown_in_dagster(stack, "epoch", week)["epoch_status"] == "finalized"
    assert shown_in_dagster(stack, "activity_events", week)["epoch_status"] == "finalized"
    of_statement = ("payout_statement", STATEMENT_RECOMPUTES, week)
    partition = format_partition_key(week.key, "default")
    assert checked_in_dagster(stack, *of_statement) == (NO_RUN, "SUCCEEDED", f"{partition}: every number follows")
    assert ok(*finalize).json == {**first, "outcome": "unchanged"}
    assert (first["scope_id"], first["pool_total_credits"], first["users"]) == (str(SCOPE_ID), str(POOL), 2)
    run_in_dagster(stack, STATE_PAYOUTS_JOB, week)
    of_run = {label: value for label, value in shown_in_dagster(stack, "payout_statement", week).items() if value}
    assert {**of_run, "trigger": told_of["trigger"]}.items() <= told_of.items()
    run_id, *result = checked_in_dagster(stack, *of_statement)
    assert (run_id != NO_RUN, *result) == (True, "SUCCEEDED", f"{partition}: every number follows")
    frozen = ledger("curate", *of_epoch, "--event", pull_request, "--exclude", "--note", "too late")
    assert frozen.code == 1
    assert "is finalized" in frozen.err

    # Verified, here and by anybody.
    assert "every number follows" in ok("verify", *of_epoch).out
    archive = tmp_path / "epoch.zip"
    ok("export", *of_epoch, "--output", str(archive))
    elsewhere = offline("verify", "--archive", str(archive), "--user", ANAS_ACCOUNT)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert pull_request in elsewhere.stdout
    assert "a person decided 0.5" in elsewhere.stdout
    tampered = tmp_path / "tampered.zip"
    tampered.write_bytes(archive.read_bytes().replace(b'"user_id":null', b'"user_id":"ev"', 1))
    verified = offline("verify", "--archive", str(tampered))
    assert verified.returncode == 1
    assert "curation.jsonl line 1: it was changed" in verified.stdout

    # Put right: a new statement supersedes, with its own signature; the first stays.
    ok("epoch", "amend", *of_epoch, "--user", "user-bo", "--units-milli", "1000", "--reason", "two releases")
    correction = ok("epoch", "sign-data", *of_epoch).out
    assert correction != message
    amended = ok("epoch", "finalize", *of_epoch, "--signature", APPROVER.sign(correction), "--json").json
    assert amended["supersedes_statement_id"] == first["statement_id"]
    statements = ok("epoch", "show", *of_epoch, "--json").json["statements"]
    assert [credits_of(statement) for statement in statements] == [
        {ANAS_ACCOUNT: 7500, "user-bo": 2500},
        {ANAS_ACCOUNT: 6000, "user-bo": 4000},
    ]
    assert "every number follows" in ok("verify", *of_epoch).out
    # The account is hers by now, and so are the credits that were stated for it.
    [of_ana] = ok("holdings", "--user", "user-ana", "--json").json
    assert [(claim["epoch"], claim["claimant"], claim["amount_credits"]) for claim in of_ana["claims"]] == [
        (week.key, ANAS_ACCOUNT, "6000")
    ]


def test_a_square_says_at_once_what_a_command_made_of_its_epoch(stack: Stack, command: Command) -> None:
    week = stack.next_week()
    of_epoch = ("--epoch", week.key)

    def ok(*arguments: str) -> None:
        ran = command(*arguments, **stack.environment)
        assert ran.code == 0, ran.err
        assert "Dagster shows this after its next run" not in ran.err

    def checks() -> list[tuple[str, ...]]:
        names = (EVERY_SOURCE_SCOPE_READ, NOTHING_REJECTED)
        return [checked_in_dagster(stack, "activity_events", name, week) for name in names]

    ok("trigger", "--as-of", week.key, "--wait")
    of_run = checks()
    assert [status for _, status, _ in of_run] == ["SUCCEEDED", "SUCCEEDED"]
    run_in_dagster(stack, ALLOCATE_EPOCH_JOB, week)
    collected, proposed = (shown_in_dagster(stack, asset, week) for asset in ("activity_events", "epoch"))
    ok("db", "reopen", *of_epoch, "--reason", "nobody looked at it")
    opened = shown_in_dagster(stack, "activity_events", week)
    assert [collected["epoch_status"], opened["epoch_status"]] == ["review", "open"]
    assert opened["trigger"] == "ledger-pipeline db reopen"
    # So do its checks, of which the run's were of what it was before.
    assert checks() == [(NO_RUN, *result) for _, *result in of_run]
    ok("epoch", "close", *of_epoch)
    for asset, before in (("activity_events", collected), ("epoch", proposed)):
        # All numbers and texts that the run labels are there; instants are told as text.
        labels = {label: value for label, value in before.items() if value is not None}
        closed = shown_in_dagster(stack, asset, week)
        assert {**labels, "trigger": "ledger-pipeline epoch close"}.items() <= closed.items()
    assert checks() == [(NO_RUN, *result) for _, *result in of_run]


def credits_of(statement: Mapping[str, Any]) -> dict[str, int]:
    return {line["userId"]: int(line["amountCredits"]) for line in statement["payouts"]}
