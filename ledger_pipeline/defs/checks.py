"""The checks that ask a source, and so run only when asked for. A result is of a run: metadata names partitions."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import dagster as dg

from ledger_pipeline.core.plain_text import as_markdown
from ledger_pipeline.core.sources import SourceKind
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline.defs.partition_checks import check_outputs
from ledger_pipeline.defs.partitions import partition_key, scopes_and_windows
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource, SourcesResource
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline.pipeline.owners import known_owners
from ledger_pipeline.sources.port import ActivitySource, CountsEvents
from ledger_pipeline.store.scan_records import WindowReceipt


def counts_check(source: str) -> str:
    """The name of the check that asks `source`."""
    return f"counts_match_{source}"


@dataclass(frozen=True)
class _Difference:
    partition: str
    source_scope: str
    stream: str
    ledger: int
    source: int

    def text(self, title: str) -> str:
        return f"{self.partition} {self.source_scope} {self.stream}: ledger {self.ledger}, {title} {self.source}"


def counts_match(kind: SourceKind, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """Events of each window, as the ledger has seen them and as the source itself counts them, where it can.

    Asked for by itself: the job `check_counts`, or "Execute" in the UI. A warning, not an error: GitHub's search is an
    index that lags, and counts an issue closed again at its latest closing.
    """

    def counts_match(
        context: dg.AssetCheckExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        sources: dg.ResourceParam[SourcesResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckResult | dg.Output[None]]:
        if not is_asked_for(context):
            yield from check_outputs(context)
            return
        with domain_failures(), ledger.open() as store, sources.open(kind.name) as source:
            selected = scopes_and_windows(settings.repo_spec(), context.partition_keys, clock.now())
            keeps_counts = isinstance(source, CountsEvents)
            compared, differences = 0, []
            for scope, windows in ((known_owners(store, scope).scope, windows) for scope, windows in selected):
                receipts = store.scans.receipts(scope.scope_id, source.name, windows)
                seen = {(receipt.window, receipt.source_scope, receipt.stream): receipt for receipt in receipts}
                for comparison in _compare(source, scope, windows, seen):
                    compared += 1
                    if comparison.ledger != comparison.source:
                        differences.append(comparison)
        yield dg.AssetCheckResult(
            passed=not differences,
            severity=dg.AssetCheckSeverity.WARN,
            description=as_markdown("; ".join(difference.text(kind.title) for difference in differences))
            or (f"{compared} counts agree" if keeps_counts else f"{kind.title} keeps no counts of its own"),
            metadata={
                "partitions": [partition_key(window, scope) for scope, windows in selected for window in windows],
                "compared": compared,
                "differences": _table(kind, differences),
            },
        )

    with warnings.catch_warnings():
        # A check's partitions are in preview; without them it could not be asked of one epoch.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        spec = dg.AssetCheckSpec(
            counts_check(kind.name),
            asset=ACTIVITY_EVENTS,
            partitions_def=partitions,
            description=f"Seen (kept, skipped, rejected) equals what {kind.title} counts, by window and source_scope.",
        )
        # What can be a subset may also give no result.
        return dg.multi_asset_check(name=counts_check(kind.name), specs=[spec], can_subset=True)(counts_match)


def _table(kind: SourceKind, differences: Sequence[_Difference]) -> dg.MetadataValue:
    columns = {"partition": "string", "source_scope": "string", "stream": "string", "ledger": "int", kind.name: "int"}
    return plain.table(
        [
            dict(zip(columns, (row.partition, row.source_scope, row.stream, row.ledger, row.source), strict=True))
            for row in differences
        ],
        columns,
    )


def is_asked_for(context: dg.AssetCheckExecutionContext) -> bool:
    """Whether the run is for the check alone.

    Dagster runs checks along with their asset, but counting costs requests and materializing a covered epoch costs
    none: in a run that materializes anything the check gives no result.
    """
    return not context.op_execution_context.job_def.asset_layer.selected_asset_keys


def _compare(
    source: ActivitySource,
    scope: Scope,
    windows: list[EpochWindow],
    seen: dict[tuple[EpochWindow, str, str], WindowReceipt],
) -> Iterator[_Difference]:
    """Both counts of every window, source_scope and stream that is complete in the ledger and that `source` counts."""
    spec = scope.source_spec(source.name)
    if spec is not None and isinstance(source, CountsEvents):
        for source_scope in spec.source_scopes:
            complete = {
                (window, stream): receipt
                for window, stream in product(windows, spec.streams)
                if (receipt := seen.get((window, source_scope, stream))) and receipt.covered_to >= window.end
            }
            asked = sorted({window for window, _ in complete})
            for window, counts in source.count_events(source_scope, asked).items():
                for stream, count in counts.items():
                    if (receipt := complete.get((window, stream))) is not None:
                        key = partition_key(window, scope)
                        yield _Difference(key, source_scope, stream, receipt.seen, count)
