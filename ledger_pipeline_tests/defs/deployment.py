"""A deployment for tests: a repo-spec on disk, its ledger, a Dagster instance, and a simulated GitHub to collect from.

Materialize any asset for any partition in two lines:

    def test_something(deployment: Deployment) -> None:
        assert deployment.materialize_asset("activity_events", "2026-02-16|default").success

`materialize` runs the whole collection of an epoch, or of a range of them, as the job `collect_epoch` does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import UUID

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter

from ledger_pipeline.definitions import build_defs
from ledger_pipeline.defs.jobs import collect_epoch
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.resources import SettingsResource
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, SCOPE_ID
from ledger_pipeline_tests.sources.simulator.worlds import NAME

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def write_repo_spec(
    folder: Path,
    *repositories: str,
    first_epoch: str = "2026-01-05",
    length_days: int = 7,
    streams: str = "",
    approvers: Sequence[str] = (),
    base_issuance_credits: int | None = None,
    approval_threshold: int = 1,
    weights_milli: Mapping[str, int] | None = None,
) -> Path:
    """A repo-spec over `repositories` in `folder`/.cogni; its path."""
    credits_ = base_issuance_credits
    pool = "" if credits_ is None else f'pool_config: {{base_issuance_credits: "{credits_}"}}'
    path = folder / ".cogni" / "repo-spec.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        dedent(f"""\
        node_id: {NODE_ID}
        scope_id: {SCOPE_ID}
        scope_key: default
        activity_ledger:
          epoch_length_days: {length_days}
          first_epoch: {first_epoch}
          activity_sources:
            github:
              credit_estimate_algo: cogni-v0.0
              source_refs: [{", ".join(repositories)}]
              {f"streams: [{streams}]" if streams else ""}
          weights_milli: {dict(weights_milli or {})}
          approvers: {list(approvers)}
          approval_threshold: {approval_threshold}
          {pool}
        """)
    )
    return path


def write_project(
    folder: Path,
    scope_key: str,
    *repositories: str,
    scope_id: UUID = OTHER_SCOPE_ID,
    first_epoch: str = "2026-01-05",
    streams: str = "",
) -> Path:
    """A further scope with weekly epochs beside the repo-spec in `folder`; its path."""
    path = folder / ".cogni" / "projects" / f"{scope_key}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        dedent(f"""\
        node_id: {NODE_ID}
        scope_id: {scope_id}
        scope_key: {scope_key}
        activity_ledger:
          epoch_length_days: 7
          first_epoch: {first_epoch}
          activity_sources:
            github:
              credit_estimate_algo: cogni-v0.0
              source_refs: [{", ".join(repositories)}]
              {f"streams: [{streams}]" if streams else ""}
        """)
    )
    return path


@dataclass
class Deployment:
    """Everything a run needs, on real parts."""

    github: Simulator
    ledger: PostgresLedger
    instance: dg.DagsterInstance
    settings: SettingsResource
    clock: datetime
    folder: Path

    def now(self) -> datetime:
        """The time to Dagster's side, which is GitHub's."""
        return self.clock

    def set_clock(self, instant: datetime) -> None:
        """Let it be this time, to both."""
        self.clock = instant
        self.github.set_clock(instant)

    def configure(self, **overrides: Any) -> None:
        """Let these settings be others, by field name; None takes one away."""
        changed = {**self.settings.overrides, **overrides}
        self.settings = SettingsResource(
            overrides={name: override for name, override in changed.items() if override is not None}
        )

    def first_epoch(self, epoch: str) -> None:
        """Let the grid begin with this epoch."""
        write_repo_spec(self.folder, NAME, first_epoch=epoch)

    def definitions(self) -> dg.Definitions:
        """What Dagster would load here."""
        return build_defs(self.settings.repo_spec(), self.settings, clock=self)

    def materialize(
        self,
        first: str,
        last: str | None = None,
        *,
        scope: str = "default",
        last_scope: str | None = None,
        tags: Mapping[str, str] | None = None,
        selection: Sequence[dg.AssetKey] | None = None,
        full_refresh: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """One run of `collect_epoch` over the epochs from `first` to `last`; a failed run is returned, not raised.

        Of the scopes from `scope` to `last_scope`, which is the same one unless it is given.
        """
        config: dict[str, Any] = {**QUIET}
        if full_refresh:
            config["ops"] = {"github_activity": {"config": {"full_refresh": True}}}
        return (
            self.definitions()
            .resolve_job_def(collect_epoch.name)
            .execute_in_process(
                run_config=config,
                instance=self.instance,
                tags={
                    "dagster/asset_partition_range_start": f"{first}|{scope}",
                    "dagster/asset_partition_range_end": f"{last or first}|{last_scope or scope}",
                    **(tags or {}),
                },
                asset_selection=selection,
                raise_on_error=False,
            )
        )

    def materialize_asset(self, asset: str, partition: str) -> dg.ExecuteInProcessResult:
        """One run of one asset, `github/issues` say, for one partition, as "Materialize" in the UI launches it."""
        key = dg.AssetKey.from_user_string(asset)
        job = self.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        tags = {"dagster/partition": partition}
        return job.execute_in_process(run_config=QUIET, instance=self.instance, tags=tags, raise_on_error=False)

    def metadata(self, asset_key: str | Sequence[str], partition: str) -> dict[str, Any]:
        """The metadata of the latest materialization of a partition, as plain values."""
        key = dg.AssetKey(asset_key)
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
        ).records
        [record] = records
        assert record.asset_materialization is not None
        return {name: value.value for name, value in record.asset_materialization.metadata.items()}

    def check_evaluation(
        self, check: str, partition: str, asset_key: dg.AssetKey = ACTIVITY_EVENTS
    ) -> dg.AssetCheckEvaluation:
        """The latest evaluation of an asset's check on a partition."""
        history = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(asset_key, check), limit=1, partition_filter=PartitionKeyFilter(key=partition)
        )
        [record] = history
        assert record.event is not None
        assert record.event.dagster_event is not None
        return record.event.dagster_event.asset_check_evaluation_data

    def materialized(self, asset_key: str | Sequence[str]) -> set[str]:
        """The partitions of an asset that are green."""
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset_key)))
