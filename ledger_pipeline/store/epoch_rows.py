"""Every row that an epoch's statement follows from, as plain values, all of one moment: what verifying starts from."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.selection.choice import PINNED_AS
from ledger_pipeline.store.facts import PINNED
from ledger_pipeline.store.routed import ROUTED
from ledger_pipeline.store.statement_records import EpochRows

_OF_EPOCH: Mapping[str, str] = {
    "epoch": """
        SELECT node_id, scope_id, id AS epoch_id, status, period_start, period_end, weight_config AS weights_milli,
            allocation_algo_ref, weight_config_hash, approver_set_hash, pinned_spec, pool_total_credits, closed_at,
            facts_set_hash
        FROM epochs WHERE id = :epoch_id AND node_id = :node_id
    """,
    "events": """
        SELECT event.id, event.source, event.event_type, event.platform_user_id, event.platform_login,
            event.artifact_url, event.metadata, event.payload_hash, event.source_object_id, event.event_time,
            event.retrieved_at, event.producer, event.producer_version
        FROM epochs AS epoch JOIN activity_events AS event
            ON event.node_id = epoch.node_id AND event.scope_id = epoch.scope_id
            AND event.event_time >= epoch.period_start AND event.event_time < epoch.period_end
        WHERE epoch.id = :epoch_id AND epoch.node_id = :node_id
        ORDER BY event.event_time, event.id COLLATE "C"
    """,
    "curation": """
        SELECT event_id, user_id, included, weight_override_milli, note, follows_policy FROM activity_curation
        WHERE epoch_id = :epoch_id AND node_id = :node_id ORDER BY event_id COLLATE "C"
    """,
    "allocations": """
        SELECT user_id, proposed_units, final_units, override_reason, activity_count FROM epoch_allocations
        WHERE epoch_id = :epoch_id AND node_id = :node_id ORDER BY user_id COLLATE "C"
    """,
    "pool": """
        SELECT component_id, algorithm_version, inputs_json AS inputs, amount_credits, evidence_ref
        FROM epoch_pool_components AS component WHERE epoch_id = :epoch_id AND node_id = :node_id AND NOT EXISTS (
            SELECT FROM set_asides WHERE pool_component_id = component.id
        )
        ORDER BY component_id COLLATE "C"
    """,
    "pool_set_aside": """
        SELECT component_id, algorithm_version, inputs_json AS inputs, amount_credits, evidence_ref, reason, actor,
            set_aside_at
        FROM epoch_pool_components AS component JOIN set_asides ON pool_component_id = component.id
        WHERE component.epoch_id = :epoch_id AND component.node_id = :node_id
        ORDER BY component_id COLLATE "C", set_aside_at
    """,
    "statements": """
        SELECT id AS statement_id, allocation_set_hash, pool_total_credits, payouts_json AS payouts,
            supersedes_statement_id, created_at
        FROM payout_statements AS statement WHERE epoch_id = :epoch_id AND node_id = :node_id
            AND NOT EXISTS (
                SELECT FROM set_asides AS aside WHERE aside.statement_id = statement.id AND aside.signature_id IS NULL
            )
        ORDER BY created_at, id
    """,
    "corrections": """
        SELECT supersedes_statement_id, user_id, units, reason, created_at FROM statement_corrections AS correction
        WHERE epoch_id = :epoch_id AND node_id = :node_id AND NOT EXISTS (
            SELECT FROM set_asides AS aside
            WHERE aside.correction_id = correction.id
                OR (aside.statement_id = correction.supersedes_statement_id AND aside.signature_id IS NULL)
        )
        ORDER BY id
    """,
    "signatures": """
        SELECT signature.statement_id, signature.signer_wallet, signature.signature, signature.signed_at,
            signature.scheme
        FROM statement_signatures AS signature JOIN payout_statements AS statement
            ON statement.id = signature.statement_id AND statement.epoch_id = :epoch_id
        WHERE signature.node_id = :node_id AND NOT EXISTS (
            SELECT FROM set_asides AS aside
            WHERE aside.statement_id = statement.id
                AND (aside.signature_id IS NULL OR aside.signature_id = signature.id)
        )
        ORDER BY signature.signed_at, signature.signer_wallet
    """,
    "inputs_signatures": """
        SELECT statement_id, signer_wallet, inputs_root, signature, signed_at FROM statement_inputs_signatures
        WHERE epoch_id = :epoch_id AND node_id = :node_id AND NOT EXISTS (
            SELECT FROM set_asides AS aside
            WHERE aside.inputs_signature_id = statement_inputs_signatures.id
                OR (aside.statement_id = statement_inputs_signatures.statement_id AND aside.signature_id IS NULL)
        )
        ORDER BY signed_at, signer_wallet COLLATE "C"
    """,
    "left_out": """
        SELECT source, source_scope, kind, number, unread_reason, unread_since, actor, reason, left_out_at
        FROM left_out_items AS item WHERE epoch_id = :epoch_id AND node_id = :node_id AND NOT EXISTS (
            SELECT FROM reopenings AS reopening
            WHERE reopening.epoch_id = item.epoch_id AND item.left_out_at <= reopening.closed_at
        )
        ORDER BY source COLLATE "C", source_scope COLLATE "C", kind COLLATE "C", number
    """,
    # Of an epoch that closed with a policy: of others nothing follows from them.
    "facts": f"""
        SELECT pinned.id AS event_id, pinned.facts_hash, pinned.facts FROM ({PINNED.text}) AS pinned
        WHERE EXISTS (
            SELECT FROM epochs WHERE id = :epoch_id AND node_id = :node_id AND pinned_spec ? '{PINNED_AS}'
        )
        ORDER BY pinned.id COLLATE "C"
    """,  # noqa: S608 (our own statement)
    "routing": ROUTED,
    "selection": """
        SELECT event_id, included, reason, weight_factor_milli FROM activity_selection
        WHERE epoch_id = :epoch_id AND node_id = :node_id ORDER BY event_id COLLATE "C"
    """,
    "co_authors": """
        SELECT event_id, provider, external_id, user_id FROM activity_co_authors
        WHERE epoch_id = :epoch_id AND node_id = :node_id
        ORDER BY event_id COLLATE "C", provider COLLATE "C", external_id COLLATE "C"
    """,
    "overrides": """
        SELECT event_id, place, units, shares, replaced, reason, actor, decided_at FROM event_overrides
        WHERE epoch_id = :epoch_id AND node_id = :node_id ORDER BY event_id COLLATE "C", place
    """,
}


def epoch_rows(connection: Connection, node_id: UUID, epoch_id: int) -> EpochRows:
    """The epoch's rows; of one snapshot when `connection` sees one."""
    parameters = {"epoch_id": epoch_id, "node_id": node_id}
    rows: dict[str, list[dict[str, Any]]] = {
        name: [row._asdict() for row in connection.execute(text(query), parameters)]
        for name, query in _OF_EPOCH.items()
    }
    [epoch] = rows.pop("epoch")
    return EpochRows(epoch=epoch, **rows)
