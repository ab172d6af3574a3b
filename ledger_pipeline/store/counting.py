"""Which event counts, and by which factor, in SQL: one expression for all who ask, so that no two disagree.

Each is of a row of `activity_curation AS curation` and of `activity_selection AS selection`, either of which may be
missing. What a person decided beats the policy: an event that they left out, weighed, or gave a note that says why;
but for one that follows the policy again, since they took their decision back.
"""

from ledger_pipeline.core.pins import CLAIMANTS

JOIN_SELECTION = """
    LEFT JOIN activity_selection AS selection
        ON selection.node_id = curation.node_id AND selection.epoch_id = curation.epoch_id
        AND selection.event_id = curation.event_id
"""
# Of a row of `activity_events AS event`: the claimant's key of its account (`core.claimants`).
ACCOUNT_KEY = "'identity:' || event.source || ':' || event.platform_user_id"
IS_BY_PERSON = """(
    curation.weight_override_milli IS NOT NULL OR NOT COALESCE(curation.included, true)
    OR (NOT curation.follows_policy AND ledger_is_reason(curation.note))
)"""
# A reason is looked for only where it matters, for that takes longest.
COUNTS = f"""(
    COALESCE(curation.included, true) AND (COALESCE(selection.included, true) OR {IS_BY_PERSON})
)"""
FACTOR = f"""(
    CASE WHEN selection.weight_factor_milli IS NOT NULL AND NOT {IS_BY_PERSON} THEN selection.weight_factor_milli END
)"""
# Of a row of `epochs AS epoch`: whether it keeps the claimants that it closed with, whatever is linked since.
KEEPS_CLAIMANTS = f"(epoch.status <> 'open' AND COALESCE(epoch.pinned_spec ? '{CLAIMANTS}', false))"
