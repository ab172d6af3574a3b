"""The check that says what the repo-spec's present selection policy would change in epochs that nobody has signed."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import as_markdown
from ledger_pipeline.core.windows import span
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.checks import is_asked_for
from ledger_pipeline.defs.keys import ACTIVITY_CURATION
from ledger_pipeline.defs.partition_checks import check_outputs
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.pipeline.what_if import ContributorChange, Supposition, what_if
from ledger_pipeline.store.records import EpochStatus

POLICY_DRIFT = "policy_drift"

_LISTED = 100
_COLUMNS = {"partition": "string", "user": "string", "units": "string", "would_be": "string", "because": "string"}


@dataclass(frozen=True)
class _Drift:
    partition: str
    change: ContributorChange

    def cells(self) -> dict[str, str]:
        because = [f"{moved.reason} {units_text(moved.units_milli)}" for moved in self.change.moved]
        units, would_be = units_text(self.change.units_milli), units_text(self.change.would_be_units_milli)
        return dict(
            zip(_COLUMNS, (self.partition, self.change.user_id, units, would_be, ", ".join(because)), strict=True)
        )


def policy_drift(partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """Units as they are proposed, or follow from what was pinned, beside those of the repo-spec's policy as it is now.

    Asked for by itself: the job `check_policy`, or "Execute" in the UI. A warning: an open epoch follows the repo-spec
    with its next materialization, and one in review stays as it closed.
    """

    def policy_drift(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        if not is_asked_for(context):
            yield from check_outputs(context)
            return
        looked_at: list[str] = []
        drifts: list[_Drift] = []
        with domain_failures(), ledger.open() as store:
            for scope, windows in scopes_and_windows(settings.repo_spec(), context.partition_keys, clock.now()):
                for epoch in store.epochs.within(scope.scope_id, span(windows)):
                    if epoch.window not in windows or epoch.status is EpochStatus.FINALIZED:
                        continue
                    key = partition_key(epoch.window, scope)
                    looked_at.append(key)
                    change = what_if(store, scope, epoch, Supposition(scope.selection, {}, as_signed=True))
                    drifts += [
                        _Drift(key, row) for row in change.changed if row.units_milli != row.would_be_units_milli
                    ]
        yield dg.AssetCheckResult(
            passed=not drifts,
            severity=dg.AssetCheckSeverity.WARN,
            description=as_markdown(_summary(drifts))
            or f"the policy changes nothing in {counted(len(looked_at), 'epoch')}",
            metadata={
                "partitions": looked_at,
                "changes": plain.table([row.cells() for row in drifts[:_LISTED]], _COLUMNS),
            },
        )

    with warnings.catch_warnings():
        # A check's partitions are in preview; without them it could not be asked of one epoch.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        spec = dg.AssetCheckSpec(
            POLICY_DRIFT,
            asset=ACTIVITY_CURATION,
            partitions_def=partitions,
            description="In epochs that nobody signed, the repo-spec's policy decides as is proposed, or was pinned.",
        )
        # What can be a subset may also give no result.
        return dg.multi_asset_check(name=POLICY_DRIFT, specs=[spec], can_subset=True)(policy_drift)


def _summary(drifts: Sequence[_Drift]) -> str:
    if not drifts:
        return ""
    moved = sum(row.change.would_be_units_milli - row.change.units_milli for row in drifts)
    epochs = {row.partition for row in drifts}
    return (
        f"the repo-spec's policy changes the units of {counted(len(drifts), 'contributor')} in "
        f"{counted(len(epochs), 'epoch')}, by {units_text(moved)} in all: {', '.join(sorted(epochs))}"
    )
