"""The assets' names as Dagster's keys; the names themselves are in `core/partition_runs.py`."""

import dagster as dg

from ledger_pipeline.core.partition_runs import ACTIVITY_EVENTS_ASSET, STREAM_ASSETS

ACTIVITY_EVENTS = dg.AssetKey(ACTIVITY_EVENTS_ASSET)
EPOCH = dg.AssetKey("epoch")
ACTIVITY_CURATION = dg.AssetKey("activity_curation")
EPOCH_ALLOCATIONS = dg.AssetKey("epoch_allocations")
POOL_COMPONENTS = dg.AssetKey("pool_components")
PAYOUT_STATEMENT = dg.AssetKey("payout_statement")


def stream_key(stream: str) -> dg.AssetKey:
    """The asset of one of GitHub's streams."""
    return dg.AssetKey(STREAM_ASSETS[stream])
