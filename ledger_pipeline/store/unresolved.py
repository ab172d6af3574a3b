"""Accounts that nobody linked, where they share events with others: what is at stake for each of them is its part."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection, text

from ledger_pipeline.core.claimants import IdentityClaimant
from ledger_pipeline.store.counting import COUNTS, IS_BY_PERSON, JOIN_SELECTION, KEEPS_CLAIMANTS
from ledger_pipeline.store.curation import weighed_events
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import UnresolvedAccount

SHARED = text("""
    SELECT epoch_id FROM unnest(CAST(:epoch_ids AS bigint[])) AS given (epoch_id)
    WHERE EXISTS (
            SELECT FROM activity_co_authors AS of_event
            WHERE of_event.epoch_id = given.epoch_id AND of_event.node_id = :node_id
        )
        OR EXISTS (
            SELECT FROM event_overrides AS of_event
            WHERE of_event.epoch_id = given.epoch_id AND of_event.node_id = :node_id
        )
""")
CO_AUTHORS = text(f"""
    SELECT co_author.provider, co_author.external_id, count(*) AS events
    FROM activity_co_authors AS co_author
    JOIN epochs AS epoch ON epoch.id = co_author.epoch_id AND epoch.node_id = co_author.node_id
    JOIN activity_curation AS curation
        ON curation.epoch_id = co_author.epoch_id AND curation.event_id = co_author.event_id
    {JOIN_SELECTION}
    LEFT JOIN user_bindings AS binding
        ON binding.node_id = co_author.node_id AND binding.provider = co_author.provider
        AND binding.external_id = co_author.external_id
    WHERE co_author.epoch_id = :epoch_id AND co_author.node_id = :node_id AND co_author.user_id IS NULL
        AND (
            binding.user_id IS NULL OR epoch.status = 'finalized'
            OR ({KEEPS_CLAIMANTS} AND binding.created_at > epoch.closed_at)
        ) AND ({COUNTS} OR {IS_BY_PERSON})
    GROUP BY co_author.provider, co_author.external_id
""")  # noqa: S608 (our own expressions)


def with_shared_events(connection: Connection, node_id: UUID, epoch_ids: Sequence[int]) -> frozenset[int]:
    """Those of `epoch_ids` in which events may have several claimants, or units by a person's decision."""
    return frozenset(connection.scalars(SHARED, {"node_id": node_id, "epoch_ids": list(epoch_ids)}))


def with_parts(
    connection: Connection, node_id: UUID, epoch: Epoch, authors: Iterable[UnresolvedAccount]
) -> list[UnresolvedAccount]:
    """The accounts of `epoch` without a user: `authors`, and those that co-authored alone, whose login nobody knows.

    Their units are their parts of what they share.
    """
    accounts = {(account.provider, account.external_id): account for account in authors}
    for row in connection.execute(CO_AUTHORS, {"node_id": node_id, "epoch_id": epoch.id}):
        account = UnresolvedAccount(row.provider, row.external_id, "", row.events, 0)
        accounts[row.provider, row.external_id] = _together(accounts.get((row.provider, row.external_id)), account)
    units: defaultdict[str, int] = defaultdict(int)
    for tally in weighed_events(connection, node_id, epoch):
        for claimant, share_milli in tally.shares_milli(epoch.weights_milli).items():
            units[claimant] += share_milli * tally.events
    return [
        replace(account, units=units[IdentityClaimant(account.provider, account.external_id).key])
        for account in accounts.values()
    ]


def in_all(accounts: Sequence[UnresolvedAccount]) -> list[UnresolvedAccount]:
    """Each account once, with all of its events and units, most units first."""
    together: dict[tuple[str, str], UnresolvedAccount] = {}
    for account in accounts:
        key = account.provider, account.external_id
        together[key] = _together(together.get(key), account)
    return sorted(together.values(), key=lambda row: (-row.units, row.provider, row.external_id))


def _together(account: UnresolvedAccount | None, elsewhere: UnresolvedAccount) -> UnresolvedAccount:
    if account is None:
        return elsewhere
    return replace(
        account,
        login=account.login or elsewhere.login,
        events=account.events + elsewhere.events,
        units=account.units + elsewhere.units,
    )
