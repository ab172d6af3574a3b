"""Each partition of a run is materialized once, with a version that follows from what it holds: looking again changes
nothing for what follows from it, and a change does.
"""

from pathlib import Path

import dagster as dg
import pytest

from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline_tests.builders import SCOPE_ID, instant, window
from ledger_pipeline_tests.defs.deployment import QUIET, Deployment, write_repo_spec
from ledger_pipeline_tests.defs.user_interface import user_interface
from ledger_pipeline_tests.sources.simulator.worlds import ANA, NAME, merged, review, world
from ledger_pipeline_tests.store.settlement import APPROVER

FIRST, LAST = "2026-01-26", "2026-02-16"
SIGNED, OPEN = "2026-02-02|default", "2026-02-16|default"
OF_SIGNED = merged(1, instant("2026-02-03T12:00"), reviews=(review(1, instant("2026-02-03T12:00")),))


def settle(deployment: Deployment, job: str, first: str, last: str) -> None:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    run = deployment.definitions().resolve_job_def(job)
    assert run.execute_in_process(run_config=QUIET, instance=deployment.instance, tags=tags).success


def out_of_step(deployment: Deployment, partition: str) -> set[str]:
    """The assets of which the UI says "Unsynced" at this partition."""
    with user_interface(deployment) as ui:
        return {asset for asset, status in ui.in_step(partition).items() if status == "STALE"}


@pytest.fixture
def signed(deployment: Deployment, tmp_path: Path) -> Deployment:
    """Weeks that are collected and proposed; one of them is signed and has its statement."""
    write_repo_spec(tmp_path, NAME, approvers=[APPROVER.address], base_issuance_credits=1000)
    deployment.github.replace_world(world(OF_SIGNED))
    deployment.ledger.identities.bind([NewBinding(GITHUB, str(ANA.database_id), "user-ana")])
    assert deployment.materialize(FIRST, LAST).success
    settle(deployment, "allocate_epoch", SIGNED, OPEN)
    spec = deployment.settings.repo_spec()
    [epoch] = deployment.ledger.epochs.within(SCOPE_ID, window("2026-02-02"))
    draft = draft_statement(deployment.ledger, spec.default_scope, epoch)
    finalize(deployment.ledger, spec, epoch, APPROVER.sign(draft.message))
    settle(deployment, "state_payouts", SIGNED, SIGNED)
    return deployment


def test_a_partition_of_a_range_is_materialized_once_and_says_when_what_it_holds_is_another(
    deployment: Deployment,
) -> None:
    deployment.github.replace_world(world(OF_SIGNED))
    assert deployment.materialize(FIRST, LAST).success
    for asset in (stream_key("reviews"), ACTIVITY_EVENTS):
        records = deployment.instance.fetch_materializations(asset, limit=100).records
        materializations = [record.asset_materialization for record in records]
        versions = {of.partition: of.tags["dagster/data_version"] for of in materializations if of is not None}
        assert len(records) == len(versions) == 4
        # Three weeks are empty, and one is not.
        assert len(set(versions.values())) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")  # Dagster's own
def test_only_a_change_puts_what_follows_from_a_partition_out_of_step(signed: Deployment) -> None:
    assert out_of_step(signed, SIGNED) == out_of_step(signed, OPEN) == set()
    assert signed.materialize(FIRST, LAST, full_refresh=True).success
    assert out_of_step(signed, SIGNED) == out_of_step(signed, OPEN) == set()
    # As the sensor does after each collection; the statement is of before.
    settle(signed, "allocate_epoch", SIGNED, OPEN)
    with user_interface(signed) as ui:
        assert set(ui.in_step(SIGNED).values()) == {"FRESH"}
        assert ui.in_step(OPEN)["payout_statement"] == "MISSING"

    signed.github.replace_world(world(OF_SIGNED, merged(2, instant("2026-02-17T12:00"))))
    assert signed.materialize("2026-02-16", full_refresh=True).success
    assert out_of_step(signed, OPEN) == {"activity_curation", "pool_components"}
    assert out_of_step(signed, SIGNED) == set()
    settle(signed, "allocate_epoch", OPEN, OPEN)
    assert out_of_step(signed, OPEN) == set()

    # What a person decides of one event, and then decides otherwise.
    [epoch] = signed.ledger.epochs.within(SCOPE_ID, window("2026-02-16"))
    for weight_milli in (700, 800):
        judgement = Judgement("half of it was generated", weight_override_milli=weight_milli)
        assert signed.ledger.curation.judge(epoch, f"github:pr:{NAME}:2", judgement)
        assert signed.materialize_asset("activity_curation", OPEN).success
        assert out_of_step(signed, OPEN) == {"epoch_allocations"}
        settle(signed, "allocate_epoch", OPEN, OPEN)


def test_a_longer_range_lists_its_partitions_no_more_often(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    list_partitions = dg.MultiPartitionsDefinition.get_partition_keys_in_range

    def count(self: dg.MultiPartitionsDefinition, *given: object, **named: object) -> object:
        listed.append(given)
        return list_partitions(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(dg.MultiPartitionsDefinition, "get_partition_keys_in_range", count)
    assert deployment.materialize("2026-02-02", "2026-02-09").success
    of_two = len(listed)
    assert deployment.materialize(FIRST, LAST).success
    assert len(listed) - of_two == of_two
    for asset in (stream_key("pull_requests"), ACTIVITY_EVENTS):
        for week in ("2026-01-26", "2026-02-09", "2026-02-16"):
            metadata = deployment.metadata(asset.path, f"{week}|default")
            assert metadata["window_start"] == window(week).start.timestamp()
