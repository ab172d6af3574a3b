"""What an epoch's scope has of each event of a claimed repository: written with the closing, never changed."""

import json
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.routing import Share
from ledger_pipeline.core.routing_pins import routed_by_from_json, routed_by_json

# An epoch that was opened again has those of each closing.
ROUTED = """
    SELECT routed.event_id, routed.share_milli, routed.reason, routed.routed_by
    FROM epochs AS epoch JOIN routed_events AS routed
        ON routed.node_id = epoch.node_id AND routed.epoch_id = epoch.id AND routed.closed_at = epoch.closed_at
    WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
    ORDER BY routed.event_id COLLATE "C"
"""
_FIND = text(ROUTED)
_KEEP = text("""
    INSERT INTO routed_events (node_id, epoch_id, event_id, share_milli, reason, routed_by)
    SELECT :node_id, :epoch_id, event_id, share_milli, reason, CAST(routed_by AS jsonb)
    FROM unnest(CAST(:event_ids AS text[]), CAST(:shares AS bigint[]), CAST(:reasons AS text[]), CAST(:by AS text[]))
        AS given (event_id, share_milli, reason, routed_by)
""")


def keep(connection: Connection, node_id: UUID, epoch_id: int, shares: Mapping[str, Share]) -> None:
    """Write what the scope has of events, by event id, of the epoch that this transaction closes.

    Raises StoreError where the epoch is not being closed, or does not hold one of them.
    """
    if not shares:
        return
    rows = [(share.milli, share.reason, share.routed_by) for share in shares.values()]
    parameters = {
        "node_id": node_id,
        "epoch_id": epoch_id,
        "event_ids": list(shares),
        "shares": [milli for milli, _, _ in rows],
        "reasons": [reason for _, reason, _ in rows],
        "by": [json.dumps({} if by is None else routed_by_json(by)) for _, _, by in rows],
    }
    connection.execute(_KEEP, parameters)


def kept(connection: Connection, parameters: Mapping[str, object]) -> dict[str, Share]:
    """What the scope has of the events of an epoch that is closed, by event id. Raises SelectionError for what is no
    row of ours."""
    return {
        row.event_id: Share(row.share_milli, row.reason, routed_by_from_json(row.routed_by))
        for row in connection.execute(_FIND, parameters)
    }
