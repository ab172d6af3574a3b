"""A second source is a folder and one entry: collected, curated, allocated, signed and verified like the first one."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from temporalio.testing import ActivityEnvironment

from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.sources import registered
from ledger_pipeline.core.windows import EpochWindow, iso_millis
from ledger_pipeline.doctor.findings import State
from ledger_pipeline.doctor.sources import check_source
from ledger_pipeline.pipeline.facts_backfill import FactsBackfill, backfill_facts
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.registry import open_source
from ledger_pipeline.sources.simulator.world import Closure
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline.temporal_bridge.ledger_activities.activities import LedgerActivities
from ledger_pipeline.temporal_bridge.worker.threads import WorkerThreads
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment, write_project, write_repo_spec
from ledger_pipeline_tests.sources.chat import CHAT, ChatSource
from ledger_pipeline_tests.sources.chat_server import SERVER
from ledger_pipeline_tests.sources.simulator.worlds import ANA, NAME, issue, merged, world
from ledger_pipeline_tests.store.settlement import APPROVER
from ledger_pipeline_tests.temporal import run_activity

WEEK = window("2026-02-02")
PARTITION = "2026-02-02|default"
IN_WEEK = instant("2026-02-03T12:00")
CREDITS = 1000


class CountedChat(ChatSource):
    """The chat with an index of its own."""

    def count_events(
        self, source_scope: str, windows: Sequence[EpochWindow]
    ) -> Mapping[EpochWindow, Mapping[str, int]]:
        sent = [at for _, at in SERVER.rooms[source_scope]]
        return {window: {"messages": sum(at in window for at in sent)} for window in windows}


@contextmanager
def open_counted_chat(
    settings: Settings, page_size: int | None = None, stop: StopSignal | None = None
) -> Iterator[CountedChat]:
    yield CountedChat(page_size or 100)


COUNTED_CHAT = replace(CHAT, opened_by=f"{__name__}:{open_counted_chat.__name__}")


@pytest.fixture(autouse=True)
def chat(request: pytest.FixtureRequest) -> Iterator[None]:
    """The chat is a source of this process; Ada and Grace have written in two of its rooms."""
    SERVER.now = NOW
    SERVER.rooms = {
        "general": [("ada", instant("2026-01-06T09:00")), *[("ada", IN_WEEK)] * 3, ("grace", IN_WEEK)],
        "random": [("grace", IN_WEEK)],
    }
    with registered(getattr(request, "param", CHAT)):
        yield


def write_spec(
    folder: Path, section: str = "{credit_estimate_algo: cogni-v0.0, source_refs: [general, random]}"
) -> Path:
    """A repo-spec that collects NAME from GitHub, and two rooms from the chat."""
    path = write_repo_spec(folder, NAME, approvers=[APPROVER.address], base_issuance_credits=CREDITS)
    path.write_text(path.read_text().replace("    github:\n", f"    chat: {section}\n    github:\n"))
    return path


@pytest.fixture
def both(deployment: Deployment) -> Deployment:
    """A deployment that collects from GitHub and from the chat."""
    write_spec(deployment.folder)
    deployment.github.replace_world(world(merged(1, IN_WEEK), issue(3, closures=(Closure(IN_WEEK),))))
    return deployment


def epoch_of(deployment: Deployment, of: EpochWindow = WEEK) -> Epoch:
    [epoch] = deployment.ledger.epochs.within(SCOPE_ID, of)
    return epoch


def run_job(deployment: Deployment, job: str) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": PARTITION, "dagster/asset_partition_range_end": PARTITION}
    definition = deployment.definitions().resolve_job_def(job)
    return definition.execute_in_process(run_config=QUIET, instance=deployment.instance, tags=tags)


def bind_everybody(deployment: Deployment) -> None:
    """Before the epoch closes: its claimants are who they are then."""
    accounts = {
        ("github", str(ANA.database_id)): "user-ana",
        ("chat", "ada"): "user-ada",
        ("chat", "grace"): "user-grace",
    }
    deployment.ledger.identities.bind([NewBinding(*account, user) for account, user in accounts.items()])


def settle(deployment: Deployment) -> dict[str, int]:
    """Propose, sign and verify the epoch; the credits that each user gets."""
    assert run_job(deployment, "allocate_epoch").success
    epoch, spec = epoch_of(deployment), deployment.settings.repo_spec()
    assert epoch.status is EpochStatus.REVIEW
    draft = draft_statement(deployment.ledger, spec.default_scope, epoch)
    statement = finalize(deployment.ledger, spec, epoch, APPROVER.sign(draft.message)).statement
    assert run_job(deployment, "state_payouts").success
    facts = facts_of(deployment.ledger.statements.rows(epoch_of(deployment)))
    assert verify(facts) == []
    assert {event.source for event in facts.events} >= {"chat"}
    return {payout["userId"]: int(payout["amountCredits"]) for payout in statement.payouts}


def test_both_sources_are_collected_by_one_run_settled_by_one_signature_and_every_number_verifies(
    both: Deployment,
) -> None:
    bind_everybody(both)
    assert both.materialize("2026-02-02").success
    messages = both.metadata(["chat", "messages"], PARTITION)
    assert (messages["seen"], messages["new"], messages["in_ledger"], messages["window_complete"]) == (5, 5, 5, True)
    assert both.metadata(["github", "pull_requests"], PARTITION)["new"] == 1
    events = both.metadata("activity_events", PARTITION)
    assert {kind: events[kind] for kind in ("pr_merged", "review_submitted", "issue_closed", "message_sent")} == {
        "pr_merged": 1,
        "review_submitted": 0,
        "issue_closed": 1,
        "message_sent": 5,
    }
    # 1000 and 300 milli-units of GitHub's, 20 for each message.
    assert settle(both) == {"user-ana": 929, "user-ada": 43, "user-grace": 28}


def count_checks(both: Deployment) -> dict[str, dg.AssetCheckEvaluation]:
    """What the checks of counts say now, by their names."""
    evaluations = run_job(both, "check_counts").get_asset_check_evaluations()
    return {evaluation.check_name: evaluation for evaluation in evaluations}


def test_what_is_covered_is_not_read_again(both: Deployment) -> None:
    assert both.materialize("2026-02-02").success
    assert both.materialize("2026-02-02").success
    assert both.metadata(["chat", "messages"], PARTITION)["asked"] is False


@pytest.mark.parametrize("chat", [COUNTED_CHAT], indirect=True)
def test_the_counts_of_a_source_that_keeps_some_are_compared_with_the_ledgers(both: Deployment) -> None:
    assert both.materialize("2026-02-02").success
    checks = count_checks(both)
    assert sorted(checks) == ["counts_match_chat", "counts_match_github"]
    assert all(evaluation.passed for evaluation in checks.values())
    assert checks["counts_match_chat"].metadata["compared"].value == 2
    SERVER.rooms["random"].append(("grace", IN_WEEK))
    check = count_checks(both)["counts_match_chat"]
    assert not check.passed
    assert check.description == "2026-02-02|default random messages: ledger 1, Chat 2"


def test_a_source_that_counts_nothing_and_tells_no_facts_says_so_and_lacks_nothing(both: Deployment) -> None:
    assert both.materialize("2026-02-02").success
    check = count_checks(both)["counts_match_chat"]
    assert (check.passed, check.description) == (True, "Chat keeps no counts of its own")
    assert run_job(both, "facts_backfill").success
    with open_source(both.settings, "chat") as source:
        done = backfill_facts(source, both.ledger, both.settings.repo_spec().default_scope, [WEEK])
    assert done == FactsBackfill()


def test_a_backfill_reads_every_source_anew(both: Deployment) -> None:
    assert both.materialize("2026-02-02").success
    SERVER.rooms["random"].append(("grace", IN_WEEK))
    assert run_job(both, "backfill").success
    messages = both.metadata(["chat", "messages"], PARTITION)
    assert (messages["asked"], messages["seen"], messages["late"]) == (True, 6, 1)  # the epoch had closed


def test_the_catalogue_has_its_assets_only_where_the_repo_spec_collects_from_it(
    both: Deployment, deployment: Deployment
) -> None:
    assert dg.AssetKey(["chat", "messages"]) in both.definitions().resolve_asset_graph().get_all_asset_keys()
    write_repo_spec(deployment.folder, NAME)
    graph = deployment.definitions().resolve_asset_graph()
    assert dg.AssetKey(["chat", "messages"]) not in graph.get_all_asset_keys()
    assert deployment.settings.repo_spec().default_scope.weights_milli.keys() == {
        "github:pr_merged",
        "github:review_submitted",
        "github:issue_closed",
    }


@pytest.mark.parametrize(
    ("section", "key", "problem"),
    [
        ("{credit_estimate_algo: x, source_refs: [Up]}", ".chat.source_refs[0]", "a room in lower case, as general"),
        ("{credit_estimate_algo: x, source_refs: [a], streams: [issues]}", ".chat.streams[0]", "one of messages"),
        ("{credit_estimate_algo: x, source_refs: [a]}", "", "github, chat have different credit_estimate_algo"),
        ("{source_refs: [a]}", ".chat.credit_estimate_algo", "is missing"),
    ],
)
def test_its_section_of_the_repo_spec_is_held_to_its_own_rules(
    deployment: Deployment, section: str, key: str, problem: str
) -> None:
    write_spec(deployment.folder, section)
    with pytest.raises(SpecError) as refused:
        deployment.settings.repo_spec()
    assert refused.value.key == f"activity_ledger.activity_sources{key}"
    assert problem in refused.value.problem


def test_a_repo_spec_without_any_source_is_refused_naming_those_there_are(deployment: Deployment) -> None:
    path = write_spec(deployment.folder)
    lines = path.read_text().splitlines()
    first = lines.index("  activity_sources:")
    last = next(number for number, line in enumerate(lines) if line.startswith("  approvers"))
    path.write_text("\n".join([*lines[:first], "  activity_sources: {}", *lines[last:]]))
    with pytest.raises(SpecError, match=r"activity_sources.*at least one of github, chat"):
        deployment.settings.repo_spec()


def test_a_scope_that_does_not_collect_from_it_is_collected_all_the_same(both: Deployment) -> None:
    write_project(both.folder, "website", NAME)
    assert both.materialize("2026-02-02", scope="website").success
    assert both.metadata("activity_events", "2026-02-02|website")["pr_merged"] == 1
    assert "message_sent" not in both.metadata("activity_events", "2026-02-02|website")
    # In one run with a scope that does, its square says why there is nothing.
    assert both.materialize("2026-02-02", last_scope="website").success
    nothing = both.metadata(["chat", "messages"], "2026-02-02|website")
    assert nothing["not_collected"] == "scope website does not collect messages"
    assert both.metadata(["chat", "messages"], PARTITION)["seen"] == 5


def test_the_doctor_asks_it_for_all_that_is_collected(both: Deployment) -> None:
    settings, spec = both.settings.read(), both.settings.repo_spec()
    finding = asyncio.run(check_source(settings, spec, CHAT))
    assert (finding.check, finding.state, finding.detail) == ("chat", State.OK, "all 2 readable")
    del SERVER.rooms["random"]
    missing = asyncio.run(check_source(settings, spec, CHAT))
    assert (missing.state, missing.detail) == (State.FAILED, "1 of 2 not there, or not for us: random")
    assert "activity_sources.chat" in (missing.remedy or "")


# In pieces, by another system's workflow.


def test_it_is_collected_in_pieces_as_by_a_run_and_settled_the_same(both: Deployment) -> None:
    settings, environment = both.settings.read(), ActivityEnvironment()
    with closing(WorkerThreads()) as threads:
        activities = LedgerActivities(
            settings.repo_spec(),
            both.ledger,
            lambda name, stop: open_source(settings, name, 2, stop),
            lambda: NOW,
            threads,
        )
        by_name = {_name(activity): activity for activity in activities.activities}

        def call(name: str, argument: dict[str, Any]) -> Any:
            answer = asyncio.run(run_activity(environment, by_name[name], json.loads(json.dumps(argument))))
            return json.loads(json.dumps(answer))

        period = {"periodStart": iso_millis(WEEK.start), "periodEnd": iso_millis(WEEK.end)}
        call("ensureEpochForWindow", period)
        for room in ("general", "random"):
            place = {"source": "chat", "sourceRef": room}
            answer = call("collectFromSource", {**place, "streams": ["messages"], **period})
            while True:
                inserted = {"events": answer["events"], "producerVersion": answer["producerVersion"]}
                call("insertEvents", inserted)
                if answer["complete"]:
                    break
                again = {**place, "streams": ["messages"], **period, "scan": answer["scan"]}
                answer = call("collectFromSource", again)
            saved = {"cursorValue": answer["nextCursorValue"], "scan": answer["scan"]}
            call("saveCursor", {**place, "stream": "messages", **saved})
    stored = list(both.ledger.events.within(SCOPE_ID, WEEK))
    assert sorted(event.id for event in stored) == [
        *(f"chat:message:general:{number}" for number in (1, 2, 3, 4)),
        "chat:message:random:0",
    ]
    # The run finds the chat covered, and reads GitHub alone.
    bind_everybody(both)
    assert both.materialize("2026-02-02").success
    assert both.metadata(["chat", "messages"], PARTITION)["asked"] is False
    assert settle(both) == {"user-ana": 929, "user-ada": 43, "user-grace": 28}


def _name(activity: Any) -> str:
    return str(activity.__temporal_activity_definition.name)
