"""The ledger in Postgres, section by section. Every verb is one transaction: all of it is stored or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Engine

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.store import migrations
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import FINALIZED_ALONE, make_engine
from ledger_pipeline.store.ledger_identity import ledger_id_of

if TYPE_CHECKING:
    from ledger_pipeline.store.allocations import Allocations
    from ledger_pipeline.store.curation import Curation
    from ledger_pipeline.store.distributions import Distributions
    from ledger_pipeline.store.epochs import Epochs
    from ledger_pipeline.store.events import Events
    from ledger_pipeline.store.facts import Facts
    from ledger_pipeline.store.identities import Identities
    from ledger_pipeline.store.listings import Listings
    from ledger_pipeline.store.opt_outs import OptOuts
    from ledger_pipeline.store.overrides import Overrides
    from ledger_pipeline.store.payout_wallets import PayoutWallets
    from ledger_pipeline.store.pool import Pool
    from ledger_pipeline.store.published import Published
    from ledger_pipeline.store.scans import Scans
    from ledger_pipeline.store.selection import Selection
    from ledger_pipeline.store.statements import Statements
    from ledger_pipeline.store.unread import Unread
    from ledger_pipeline.store.what_if import WhatIf


@contextmanager
def open_ledger(url: str, node_id: UUID, limits: DatabaseLimits | None = None) -> Iterator["PostgresLedger"]:
    """The ledger in the database at `url`, checked to be migrated; its connections are given back at the end.

    They keep to `limits`, DatabaseLimits() where none are given.

    Raises ConfigurationError for a bad URL, StoreUnavailable, or LedgerNotMigrated.
    """
    engine = make_engine(url, limits=limits)
    try:
        ledger = PostgresLedger(engine, node_id)
        ledger.check_migrated()
        yield ledger
    finally:
        engine.dispose()


@contextmanager
def open_finalized(url: str, node_id: UUID, limits: DatabaseLimits | None = None) -> Iterator["PostgresLedger"]:
    """As `open_ledger`, read-only and as if it held nothing but finalized epochs: the database shows nothing else.

    The URL's user is a member of `ledger_web`. Raises as `open_ledger`, and StoreError where the user is no such.
    """
    engine = make_engine(url, limits=limits, session=FINALIZED_ALONE)
    try:
        ledger = PostgresLedger(engine, node_id)
        ledger.check_migrated()
        yield ledger
    finally:
        engine.dispose()


class PostgresLedger:
    """The ledger of one node in the database behind `engine`, made by `store/engine.py`. Safe to share between threads.

    Its verbs are in sections by topic, and scopes are arguments. All raise StoreUnavailable when the database is down.
    A section is imported when it is first asked for: most commands need one or two.
    """

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine

    @cached_property
    def epochs(self) -> "Epochs":
        """The epochs, and where each stands."""
        from ledger_pipeline.store.epochs import Epochs

        return Epochs(self._engine, self.node_id)

    @cached_property
    def events(self) -> "Events":
        """Events of members, and those that were rejected."""
        from ledger_pipeline.store.events import Events

        return Events(self._engine, self.node_id)

    @cached_property
    def facts(self) -> "Facts":
        """What sources said of events beside their rows."""
        from ledger_pipeline.store.facts import Facts

        return Facts(self._engine, self.node_id)

    @cached_property
    def scans(self) -> "Scans":
        """What was read: pages, cursors, receipts and checkpoints."""
        from ledger_pipeline.store.scans import Scans

        return Scans(self._engine, self.node_id)

    @cached_property
    def unread(self) -> "Unread":
        """Items that could not be read."""
        from ledger_pipeline.store.unread import Unread

        return Unread(self._engine, self.node_id)

    @cached_property
    def opt_outs(self) -> "OptOuts":
        """Who takes no pay."""
        from ledger_pipeline.store.opt_outs import OptOuts

        return OptOuts(self._engine, self.node_id)

    @cached_property
    def listings(self) -> "Listings":
        """What owners have, of whom scopes collect all."""
        from ledger_pipeline.store.listings import Listings

        return Listings(self._engine, self.node_id)

    @cached_property
    def identities(self) -> "Identities":
        """Which account belongs to which user."""
        from ledger_pipeline.store.identities import Identities

        return Identities(self._engine, self.node_id)

    @cached_property
    def curation(self) -> "Curation":
        """Which events count, and for whom."""
        from ledger_pipeline.store.curation import Curation

        return Curation(self._engine, self.node_id)

    @cached_property
    def overrides(self) -> "Overrides":
        """What people decided about single events: their units, and claimants' parts."""
        from ledger_pipeline.store.overrides import Overrides

        return Overrides(self._engine, self.node_id)

    @cached_property
    def selection(self) -> "Selection":
        """Which events a selection policy lets count, and why."""
        from ledger_pipeline.store.selection import Selection

        return Selection(self._engine, self.node_id)

    @cached_property
    def what_if(self) -> "WhatIf":
        """What another policy or other weights would decide by."""
        from ledger_pipeline.store.what_if import WhatIf

        return WhatIf(self._engine, self.node_id)

    @cached_property
    def allocations(self) -> "Allocations":
        """Units per user."""
        from ledger_pipeline.store.allocations import Allocations

        return Allocations(self._engine, self.node_id)

    @cached_property
    def pool(self) -> "Pool":
        """The credits that an epoch shares out."""
        from ledger_pipeline.store.pool import Pool

        return Pool(self._engine, self.node_id)

    @cached_property
    def statements(self) -> "Statements":
        """Statements, signatures, and all that was set aside of them."""
        from ledger_pipeline.store.statements import Statements

        return Statements(self._engine, self.node_id)

    @cached_property
    def payout_wallets(self) -> "PayoutWallets":
        """Where claimants' tokens are sent, as approvers signed for it."""
        from ledger_pipeline.store.payout_wallets import PayoutWallets

        return PayoutWallets(self._engine, self.node_id)

    @cached_property
    def distributions(self) -> "Distributions":
        """What was distributed of which epoch to whom."""
        from ledger_pipeline.store.distributions import Distributions

        return Distributions(self._engine, self.node_id)

    @cached_property
    def published(self) -> "Published":
        """What there is to look up of finalized epochs."""
        from ledger_pipeline.store.published import Published

        return Published(self._engine, self.node_id)

    @property
    def ledger_id(self) -> str | None:
        """Which ledger it is, as `ledger_id_of` says it."""
        return ledger_id_of(self._engine)

    def check_migrated(self) -> None:
        """Return if the database is at this code's migration. Raises LedgerNotMigrated otherwise."""
        with translated(self._engine):
            at = migrations.current_of(self._engine)
        if at != migrations.head():
            raise migrations.not_migrated(self._engine, at)
