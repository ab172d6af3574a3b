"""Who has a part of an event beside whoever did it, as an epoch's policy decided: accounts, with users where linked."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.claimants import IdentityClaimant
from ledger_pipeline.store.counting import KEEPS_CLAIMANTS
from ledger_pipeline.store.links_at import links_at

# Beside a row of `activity_curation AS curation`: the claimants that have a part of its event, as `shared_with.keys`.
JOIN_CO_AUTHORS = """
    LEFT JOIN (
        SELECT event_id, array_agg(
            DISTINCT COALESCE(user_id, 'identity:' || provider || ':' || external_id)
        ) AS keys
        FROM activity_co_authors
        WHERE node_id = :node_id AND epoch_id = :epoch_id AND (user_id IS NOT NULL OR :reserves_accounts)
        GROUP BY event_id
    ) AS shared_with ON shared_with.event_id = curation.event_id
"""
ANY = text("SELECT EXISTS (SELECT FROM activity_co_authors WHERE epoch_id = :epoch_id AND node_id = :node_id)")
OF_EPOCH = text("""
    SELECT event_id, provider, external_id, user_id FROM activity_co_authors
    WHERE epoch_id = :epoch_id AND node_id = :node_id
""")
FORGET = text("""
    DELETE FROM activity_co_authors
    WHERE node_id = :node_id AND epoch_id = :epoch_id AND event_id = ANY(CAST(:event_ids AS text[]))
""")
ADD = text("""
    INSERT INTO activity_co_authors (node_id, epoch_id, event_id, provider, external_id)
    SELECT :node_id, :epoch_id, * FROM unnest(
        CAST(:event_ids AS text[]), CAST(:providers AS text[]), CAST(:external_ids AS text[])
    )
""")
# Whose accounts are for an epoch: by the links of when it closed where it keeps its claimants, else by those of now.
LINKS_OF_EPOCH = f"""
    SELECT provider, external_id, user_id FROM user_bindings
    WHERE node_id = :node_id AND NOT (SELECT {KEEPS_CLAIMANTS} FROM epochs AS epoch WHERE epoch.id = :epoch_id)
    UNION ALL
    SELECT * FROM ({links_at("(SELECT closed_at FROM epochs WHERE id = :epoch_id)")}) AS link
    WHERE (SELECT {KEEPS_CLAIMANTS} FROM epochs AS epoch WHERE epoch.id = :epoch_id)
"""  # noqa: S608 (our own expressions)
RESOLVE = text(f"""
    UPDATE activity_co_authors AS co_author SET user_id = link.user_id
    FROM ({LINKS_OF_EPOCH}) AS link
    WHERE co_author.node_id = :node_id AND co_author.epoch_id = :epoch_id AND co_author.user_id IS NULL
        AND link.user_id IS NOT NULL AND link.provider = co_author.provider
        AND link.external_id = co_author.external_id
""")  # noqa: S608 (our own expressions)
# As of what an account did itself: what is finalized is paid, and what is in review keeps its claimants.
MOVE = text(f"""
    UPDATE activity_co_authors AS co_author SET user_id = :user_id
    FROM epochs AS epoch
    WHERE epoch.id = co_author.epoch_id AND epoch.node_id = co_author.node_id AND epoch.status <> 'finalized'
        AND NOT {KEEPS_CLAIMANTS}
        AND co_author.node_id = :node_id AND co_author.provider = :provider AND co_author.external_id = :external_id
""")  # noqa: S608 (our own expressions)


def has_co_authors(connection: Connection, parameters: Mapping[str, object]) -> bool:
    """Whether any event of the epoch that `parameters` name has co-authors."""
    return bool(connection.scalar(ANY, parameters))


def co_authors_of(connection: Connection, node_id: UUID, epoch_id: int) -> dict[str, tuple[str, ...]]:
    """The keys of the accounts that have a part of an event, in code-point order, by its id; of no others."""
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(OF_EPOCH, {"node_id": node_id, "epoch_id": epoch_id}):
        keys[row.event_id].append(IdentityClaimant(row.provider, row.external_id).key)
    return {event_id: tuple(sorted(of_event)) for event_id, of_event in keys.items()}


def replace_co_authors(
    connection: Connection,
    of_epoch: Mapping[str, object],
    stored: Iterable[str],
    decided: Mapping[str, Iterable[IdentityClaimant]],
) -> None:
    """Store the accounts `decided` by event id, with their users where linked, in place of those of `stored` events."""
    if event_ids := sorted(stored):
        connection.execute(FORGET, {**of_epoch, "event_ids": event_ids})
    rows = [(event_id, account) for event_id, accounts in decided.items() for account in accounts]
    if rows:
        columns = {
            "event_ids": [event_id for event_id, _ in rows],
            "providers": [account.provider for _, account in rows],
            "external_ids": [account.external_id for _, account in rows],
        }
        connection.execute(ADD, {**of_epoch, **columns})
