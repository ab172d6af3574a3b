"""What a run says of its partitions: materializations, each with metadata and a data version of its own.

Dagster would make those of a step's output by itself, all of a range with one data version, which is new with every
run. Whatever follows from a week would then read as "Unsynced" whenever the week is looked at again. A version here is
a hash of what the partition holds, so only a change is one.
"""

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

# Dagster's names for what its UI decides by whether a partition is in step with those that it follows from, and its
# only way to end an output of which it is not to make materializations.
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.defs.event_batches import in_one_batch
from ledger_pipeline.defs.metadata import PartitionState
from ledger_pipeline.defs.partitions import partition_key

# Of the rule by which contents are hashed: with another, every partition would have a new data version.
_CODE_VERSION = "contents-v1"


def materialized(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, scope: Scope, states: Iterable[PartitionState]
) -> Iterator[dg.DagsterEvent]:
    """The events that materialize `asset_key`, stored together. `states` may be of any windows, not the run's alone.

    They are taken after what Dagster shows of the assets before was looked up, so that nothing in between is missed.
    """
    step = context.get_step_execution_context()
    upstream = followed(context.instance, step.job_def.asset_layer.get(asset_key).parent_keys)
    for state, batch in in_one_batch(list(states)):
        yield dg.DagsterEvent.asset_materialization(step, materialization(asset_key, scope, state, upstream), batch)


def materialization(
    asset_key: dg.AssetKey, scope: Scope, state: PartitionState, upstream: Mapping[str, str]
) -> dg.AssetMaterialization:
    """What Dagster stores of a partition; `upstream` are the tags that `followed` gives."""
    version = {
        CODE_VERSION_TAG: _CODE_VERSION,
        DATA_VERSION_TAG: sha256_hex(state.content),
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
    }
    return dg.AssetMaterialization(
        asset_key=asset_key,
        partition=partition_key(state.window, scope),
        metadata=state.metadata,
        tags={**upstream, **version},
    )


def followed(instance: dg.DagsterInstance, upstream: Iterable[dg.AssetKey]) -> dict[str, str]:
    """Tags that say up to which event each of the assets before was looked at.

    Dagster compares the versions before and after it.
    """
    tags: dict[str, str] = {}
    for key in upstream:
        records = instance.fetch_materializations(key, limit=1).records
        event = str(records[0].storage_id) if records else NULL_EVENT_POINTER
        # Dagster wants both; of partitions it looks up the versions themselves.
        tags[get_input_event_pointer_tag(key)] = event
        tags[get_input_data_version_tag(key)] = f"as of event {event}"
    return tags


def ended(asset_key: dg.AssetKey) -> dg.MaterializeResult[None]:
    """Ends the output of an asset of which `materialized` said all there is."""
    return dg.MaterializeResult(asset_key=asset_key, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
