"""The assets' names as Dagster's keys; the names themselves are in `dagster_contract.py`."""

import dagster as dg

from ledger_pipeline.dagster_contract import (
    ACTIVITY_EVENTS_ASSET,
    ALLOCATIONS_ASSET,
    CURATION_ASSET,
    EPOCH_ASSET,
    POOL_ASSET,
    STATEMENT_ASSET,
    stream_asset,
)

ACTIVITY_EVENTS = dg.AssetKey(ACTIVITY_EVENTS_ASSET)
EPOCH = dg.AssetKey(EPOCH_ASSET)
ACTIVITY_CURATION = dg.AssetKey(CURATION_ASSET)
EPOCH_ALLOCATIONS = dg.AssetKey(ALLOCATIONS_ASSET)
POOL_COMPONENTS = dg.AssetKey(POOL_ASSET)
PAYOUT_STATEMENT = dg.AssetKey(STATEMENT_ASSET)


def stream_key(stream: str) -> dg.AssetKey:
    """The asset of a stream, of whatever source."""
    return dg.AssetKey(stream_asset(stream))
