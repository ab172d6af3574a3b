"""A range tells Dagster the metadata of its partitions at once: what that costs does not grow with their square."""

import dagster as dg
import pytest

from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.partition_metadata import add_partition_metadata
from ledger_pipeline_tests.builders import window
from ledger_pipeline_tests.defs.deployment import Deployment

ASSETS = [stream_key("pull_requests"), ACTIVITY_EVENTS]


def test_a_longer_range_lists_its_partitions_no_more_often(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    list_partitions = dg.MultiPartitionsDefinition.get_partition_keys_in_range

    def count(self: dg.MultiPartitionsDefinition, *given: object, **named: object) -> object:
        listed.append(given)
        return list_partitions(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(dg.MultiPartitionsDefinition, "get_partition_keys_in_range", count)
    assert deployment.materialize("2026-01-05", "2026-01-12").success
    of_two = len(listed)
    assert deployment.materialize("2026-01-05", "2026-02-16").success
    assert len(listed) - of_two == of_two
    for asset in ASSETS:
        for week in ("2026-01-05", "2026-01-26", "2026-02-16"):
            metadata = deployment.metadata(asset.path, f"{week}|default")
            assert metadata["window_start"] == window(week).start.timestamp()


KEY = dg.AssetKey("told")
PARTITIONS = dg.StaticPartitionsDefinition(["a", "b", "c"])


def run(once: dict[str, dict[str, object]], twice: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """What the partitions a and b say after a run over both that was told this, in two calls."""

    @dg.multi_asset(
        specs=[dg.AssetSpec(KEY)], partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run()
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        context.add_asset_metadata({"of": "all"}, asset_key=KEY)
        for metadata in (once, twice):
            add_partition_metadata(context, KEY, metadata)  # type: ignore[arg-type]
        return dg.MaterializeResult(asset_key=KEY)

    with dg.DagsterInstance.ephemeral() as instance:
        tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
        dg.materialize([asset], instance=instance, tags=tags)
        records = instance.fetch_materializations(KEY, limit=10).records
    return {
        str(record.partition_key): {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in records
        if record.asset_materialization is not None
    }


def test_each_partition_says_what_it_was_told_beside_what_all_say() -> None:
    by_output = run({"a": {"x": 1, "y": 1}, "b": {"x": 2}}, {"a": {"y": 3}})
    assert by_output == {"a": {"of": "all", "x": 1, "y": 3}, "b": {"of": "all", "x": 2}}


def test_a_partition_that_is_not_of_the_run_is_refused() -> None:
    with pytest.raises(dg.DagsterInvariantViolationError, match="told: not of this run: c"):
        run({"a": {"x": 1}, "c": {"x": 1}}, {})
