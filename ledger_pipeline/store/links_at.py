"""Whose an account was at some moment, in SQL: one rule for all who ask, so that no two disagree."""

# A link counts from when it was written; one of before there was evidence, from when its account was bound. A binding
# that no link is of, which the owner wrote by hand, counts from then on, too. The user is null where the account was
# unbound then. Takes `:node_id`.
_SINCE = """
    SELECT link.provider, link.external_id, link.place, link.user_id,
        CASE WHEN link.rests_on = 'before_evidence' THEN LEAST(binding.created_at, link.linked_at) ELSE link.linked_at
        END AS since
    FROM account_links AS link LEFT JOIN user_bindings AS binding USING (node_id, provider, external_id)
    WHERE link.node_id = :node_id
    UNION ALL
    SELECT binding.provider, binding.external_id, 0, binding.user_id, binding.created_at
    FROM user_bindings AS binding WHERE binding.node_id = :node_id AND NOT EXISTS (
        SELECT FROM account_links AS link WHERE (link.node_id, link.provider, link.external_id)
            = (binding.node_id, binding.provider, binding.external_id)
    )
"""


def links_at(instant: str) -> str:
    """Rows `(provider, external_id, user_id)`, one of each account that had any link at `instant`, an expression."""
    return f"""
        SELECT DISTINCT ON (provider, external_id) provider, external_id, user_id FROM ({_SINCE}) AS link
        WHERE since <= {instant} ORDER BY provider, external_id, place DESC
    """  # noqa: S608 (our own expressions)
