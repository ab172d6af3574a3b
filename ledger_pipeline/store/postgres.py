"""The ledger in Postgres: every verb is one statement or one short transaction, all of it stored or none."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import EpochNotReady, EpochOverlap, IngestionClosed
from ledger_pipeline.core.events import ActivityEvent, SkippedActivity
from ledger_pipeline.core.pins import EpochPins
from ledger_pipeline.core.pool import NewPoolComponent
from ledger_pipeline.core.unread import ItemKey, UnreadItem, item_name
from ledger_pipeline.core.windows import EpochWindow, span
from ledger_pipeline.store import checkpoints, left_out, migrations, tallies
from ledger_pipeline.store import unread as unread_rows
from ledger_pipeline.store.allocations import Allocations
from ledger_pipeline.store.append import Append
from ledger_pipeline.store.curation import Curation
from ledger_pipeline.store.cursors import finished_scans, scan_of, store_scans, stored_cursors
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.digests import bounds, streamed, window_digests
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.identities import Identities
from ledger_pipeline.store.overlap import epoch_overlap
from ledger_pipeline.store.pool import Pool, add_component
from ledger_pipeline.store.receipts import keep_receipts, whole_scans, window_receipts
from ledger_pipeline.store.records import (
    AppendOutcome,
    Checkpoint,
    Cursor,
    DayCount,
    Epoch,
    EpochStatus,
    Exclusion,
    LeftOut,
    PageContent,
    PersonCount,
    Producer,
    Receipt,
    RejectedEvent,
    StoredEvent,
    StoredUnread,
    UnsettledRejections,
    WindowDigest,
    WindowReceipt,
    WindowStream,
)
from ledger_pipeline.store.schema import activity_events, epochs, rejected_events
from ledger_pipeline.store.skipped import keep_skipped
from ledger_pipeline.store.statements import Statements

EVER = EpochWindow(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

CREATE_EPOCHS = text("""
    SELECT ledger_make_epochs(
        :node_id, :scope_id, CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]), :weights
    )
""").bindparams(bindparam("weights", type_=JSONB))


# A row without an end, which older migrations took from anybody, is an epoch of nobody's; doctor names it.
READABLE = text("period_start >= '0001-01-01T00:00:00Z' AND period_end <= '9999-12-31T00:00:00Z'")
CLOSE_EPOCH = text("""
    UPDATE epochs SET status = 'review', closed_at = now(), allocation_algo_ref = :allocation_algo_ref,
        weight_config_hash = :weight_config_hash, approver_set_hash = :approver_set_hash, pinned_spec = :pinned_spec
    WHERE id = :id AND node_id = :node_id AND status = 'open'
    RETURNING period_start, period_end
""").bindparams(bindparam("pinned_spec", type_=JSONB))
SCOPE_OF_EPOCH = text("SELECT scope_id FROM epochs WHERE id = :id AND node_id = :node_id")
_ITEMS_NAMED = 5


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


class PostgresLedger:
    """The ledger of one node in the database behind `engine`, made by `store/engine.py`. Safe to share between threads.

    What follows collection are sections of their own: identities, curation, allocations, pool, statements.
    """

    def __init__(self, engine: Engine, node_id: UUID) -> None:
        self.node_id = node_id
        self._engine = engine
        self.identities = Identities(engine, node_id)
        self.curation = Curation(engine, node_id)
        self.allocations = Allocations(engine, node_id)
        self.pool = Pool(engine, node_id)
        self.statements = Statements(engine, node_id)

    def check_migrated(self) -> None:
        """Return if the database is at this code's migration. Raises LedgerNotMigrated otherwise."""
        with translated(self._engine):
            at = migrations.current_of(self._engine)
        if at != migrations.head():
            raise migrations.not_migrated(self._engine, at)

    def ensure_epochs(
        self, scope_id: UUID, windows: Sequence[EpochWindow], weights_milli: Mapping[str, int]
    ) -> list[Epoch]:
        """The epochs of exactly `windows`, oldest first; missing ones are created open with these weights.

        Raises EpochOverlap, creating none and saying the way out, when a window overlaps an epoch with other bounds.
        """
        if not windows:
            return []
        wanted = sorted(set(windows))
        with translated(self._engine), self._engine.begin() as connection:
            parameters = {**self._scope(scope_id), **bounds(wanted), "weights": dict(weights_milli)}
            created = set(connection.execute(CREATE_EPOCHS, parameters).scalars())
            stored = self._epochs(connection, scope_id, span(wanted))
            by_window = {epoch.window: epoch for epoch in stored}
            for window in wanted:
                if window not in by_window:
                    raise _overlap(window, stored, self._epochs(connection, scope_id, EVER), created)
        return [by_window[window] for window in wanted]

    def epochs(self, scope_id: UUID, within: EpochWindow) -> list[Epoch]:
        """Epochs that overlap `within`, oldest first."""
        with translated(self._engine), self._engine.connect() as connection:
            return self._epochs(connection, scope_id, within)

    def open_epochs(self, scope_id: UUID) -> list[Epoch]:
        """Every epoch of the scope that is open, oldest first."""
        query = (
            select(epochs)
            .where(epochs.c.node_id == self.node_id, epochs.c.scope_id == scope_id)
            .where(epochs.c.status == EpochStatus.OPEN.value, READABLE)
            .order_by(epochs.c.period_start)
        )
        with translated(self._engine), self._engine.connect() as connection:
            return [_epoch(row) for row in connection.execute(query)]

    def epoch(self, epoch_id: int) -> Epoch | None:
        """The epoch of that id; None where the node has none."""
        query = select(epochs).where(epochs.c.node_id == self.node_id, epochs.c.id == epoch_id, READABLE)
        with translated(self._engine), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _epoch(row)

    def close_epoch(
        self,
        epoch_id: int,
        pins: EpochPins,
        pool: NewPoolComponent | None = None,
        exclusion: Exclusion | None = None,
        collected: Collection[tuple[str, str, str]] | None = None,
    ) -> bool:
        """Move an open epoch to review with what is pinned at that moment; False where it was not open any more.

        `pool` joins its pool in the same transaction where no component of that name is there, and the items of
        `exclusion` are written down as left out. Raises StoreError, closing nothing, where one of them is not unread,
        and EpochNotReady where another item is by then whose events may be the epoch's. Of `collected` alone: each a
        source, a source_scope and a kind of item; None is all.
        """
        with translated(self._engine), self._engine.begin() as connection:
            mine = {"id": epoch_id, "node_id": self.node_id}
            scope_id = connection.execute(SCOPE_OF_EPOCH, mine).scalar()
            if scope_id is None:
                return False
            unread_rows.lock(connection, self._scope(scope_id))
            closed = connection.execute(CLOSE_EPOCH, {**mine, **asdict(pins)}).one_or_none()
            if closed is None:
                return False
            window = EpochWindow(closed.period_start, closed.period_end)
            decided = (
                set() if exclusion is None else {(row.source, row.source_scope, row.item.key) for row in exclusion.rows}
            )
            unread = [
                row
                for row in unread_rows.touching(connection, self._scope(scope_id), window)
                if (row.source, row.source_scope, row.item.key) not in decided
                and (collected is None or (row.source, row.source_scope, row.item.key.kind) in collected)
            ]
            if unread:
                names = ", ".join(item_name(row.source_scope, row.item.key) for row in unread[:_ITEMS_NAMED])
                raise EpochNotReady(
                    f"epoch {window.key} is still open: {len(unread)} became unread meanwhile, such as {names}; "
                    "see again"
                )
            if pool is not None:
                add_component(connection, self.node_id, epoch_id, pool)  # another amount was refused by the database
            if exclusion is not None:
                left_out.keep(connection, self.node_id, epoch_id, exclusion)
            return True

    def append_events(
        self, scope_id: UUID, events: Sequence[ActivityEvent], producer: Producer, retrieved_at: datetime
    ) -> dict[str, AppendOutcome]:
        """Store what is new and say, by event id, what became of each. Safe to repeat.

        Rejected events (REJECTED) are kept aside with their reason, once however often they come. An id that
        comes with several payload hashes in one call has the worst of their outcomes.
        """
        if not events:
            return {}

        return self._with_events(
            lambda connection: Append(connection, self.node_id, scope_id, producer, retrieved_at).run(events)
        )

    def store_page(self, scope_id: UUID, page: PageContent) -> dict[str, AppendOutcome]:
        """Store all of a page, or nothing, and say by event id what became of each event. Safe to repeat."""
        scope = self._scope(scope_id)
        where = {**scope, "source": page.source, "source_scope": page.source_scope}

        def store(connection: Connection) -> dict[str, AppendOutcome]:
            if page.unread or page.settled:
                # Before the events, as whoever closes an epoch does: else each would wait for the other.
                unread_rows.lock(connection, scope)
            outcomes = {}
            if page.events:
                append = Append(connection, self.node_id, scope_id, page.producer, page.retrieved_at)
                outcomes = append.run(page.events)
            if page.skipped:
                keep_skipped(connection, scope, page.skipped, page.retrieved_at)
            if page.unread or page.settled:
                read_from = page.read_from or page.retrieved_at
                unread_rows.note(connection, where, page.unread, page.settled, page.retrieved_at, read_from)
            if page.checkpoint is not None:
                checkpoints.save(connection, scope, page.checkpoint)
            return outcomes

        return self._with_events(store)

    def _with_events(self, write: Callable[[Connection], dict[str, AppendOutcome]]) -> dict[str, AppendOutcome]:
        """What `write`, which stores events, gives in a transaction."""

        def attempt() -> dict[str, AppendOutcome]:
            with translated(self._engine), self._engine.begin() as connection:
                return write(connection)

        try:
            return attempt()
        except IngestionClosed:
            # An epoch closed after we had looked. Now it is closed for good, and its events are late.
            return attempt()

    def cursors(self, scope_id: UUID, source: str) -> dict[tuple[str, str], Cursor]:
        """The cursors of a source, by (stream, source_scope)."""
        with translated(self._engine), self._engine.connect() as connection:
            stored = stored_cursors(connection, self._scope(scope_id), [source])
        return {(stream, source_scope): cursor for (_, stream, source_scope), cursor in stored.items()}

    def record_skipped(self, scope_id: UUID, skipped: Sequence[SkippedActivity], retrieved_at: datetime) -> int:
        """Keep activity that counts for nobody, once however often it comes; how many were new."""
        if not skipped:
            return 0
        with translated(self._engine), self._engine.begin() as connection:
            return keep_skipped(connection, self._scope(scope_id), skipped, retrieved_at)

    def checkpoint(self, scope_id: UUID, source: str, source_scope: str) -> Checkpoint | None:
        """Where an unfinished scan of the source_scope stands; None when there is none."""
        with translated(self._engine), self._engine.connect() as connection:
            return checkpoints.find(connection, self._scope(scope_id), source, source_scope)

    def note_unread(
        self,
        scope_id: UUID,
        source: str,
        source_scope: str,
        *,
        unread: Sequence[UnreadItem],
        settled: Sequence[ItemKey],
        tried_at: datetime,
        read_from: datetime,
    ) -> None:
        """Remember items that could not be read at `tried_at`, by a scan from `read_from` on; forget those `settled`.

        One that is in both stays, and so does a settled one that could not be read later than `tried_at`.
        """
        if not unread and not settled:
            return
        where = {**self._scope(scope_id), "source": source, "source_scope": source_scope}
        with translated(self._engine), self._engine.begin() as connection:
            unread_rows.lock(connection, self._scope(scope_id))
            unread_rows.note(connection, where, unread, settled, tried_at, read_from)

    def forget_unread_passed(
        self, scope_id: UUID, source: str, source_scope: str, floors: Mapping[str, datetime], began_at: datetime
    ) -> None:
        """Forget items without a number that a finished scan, begun at `began_at`, did not meet again.

        `floors` says by kind from where on it has read everything.
        """
        where = {**self._scope(scope_id), "source": source, "source_scope": source_scope}
        with translated(self._engine), self._engine.begin() as connection:
            unread_rows.forget_passed(connection, where, floors, began_at)

    def unread_items(self, scope_id: UUID) -> list[StoredUnread]:
        """Every item that nobody could read yet, longest untried first."""
        with translated(self._engine), self._engine.connect() as connection:
            return unread_rows.find(connection, self._scope(scope_id))

    def left_out(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, tuple[LeftOut, ...]]:
        """What the epochs of `windows` were closed without; a window whose epoch lacks nothing is not there."""
        with translated(self._engine), self._engine.connect() as connection:
            return left_out.find(connection, self._scope(scope_id), windows)

    def receipts(self, scope_id: UUID, source: str, windows: Sequence[EpochWindow]) -> list[WindowReceipt]:
        """One per window, stream and source_scope that was ever looked at, by (window, stream, source_scope).

        All from one snapshot of the ledger.
        """
        with translated(self._engine), self._engine.connect() as connection:
            return window_receipts(_snapshot(connection), self._scope(scope_id), source, windows)

    def whole_scans(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[WindowStream, datetime]:
        """When the latest scan began that read a window in one go from its start on, by (window, source, stream,
        source_scope); what was never read so is left out, and so are scans of a repository that had the name before.
        """
        if not windows:
            return {}
        with translated(self._engine), self._engine.connect() as connection:
            return whole_scans(connection, self._scope(scope_id), windows)

    def advance_cursors(
        self,
        scope_id: UUID,
        cursors: Sequence[Cursor],
        retrieved_at: datetime,
        receipts: Sequence[Receipt] = (),
    ) -> list[Cursor]:
        """Record finished scans and return what the ledger then holds, in the order given.

        In the same transaction their `receipts` are kept and the checkpoints of their source_scopes forgotten.

        A watermark only moves forward and coverage only grows; a scan that does not touch what is covered already
        (it starts after the stored watermark) leaves the stored cursor as it is. A scan of another source_scope_id
        than the stored one, begun no earlier, takes the cursor's place: what was covered was another repository.

        Raises ValueError when a scan does not say what it covered, two are of one stream of a source_scope, or a
        receipt is of none of them.
        """
        scans = finished_scans(cursors)
        for receipt in receipts:
            if scan_of(receipt) not in scans:
                raise ValueError(f"a receipt of none of the finished scans: {receipt}")
        if not scans:
            return []
        scope = self._scope(scope_id)
        with translated(self._engine), self._engine.begin() as connection:
            store_scans(connection, scope, scans, retrieved_at)
            keep_receipts(connection, scope, receipts)
            checkpoints.discard(connection, scope, {(scan.source, scan.source_scope) for scan in cursors})
            stored = stored_cursors(connection, scope, sorted({scan.source for scan in cursors}))
        return [stored[scan_of(cursor)] for cursor in cursors]

    def events(self, scope_id: UUID, within: EpochWindow) -> Iterator[StoredEvent]:
        """Events whose time lies in `within`, by (event_time, id), streamed: memory does not grow with them."""
        columns = [activity_events.c[field.name] for field in fields(StoredEvent)]
        query = (
            select(*columns)
            .where(activity_events.c.node_id == self.node_id, activity_events.c.scope_id == scope_id)
            .where(activity_events.c.event_time >= within.start, activity_events.c.event_time < within.end)
            .order_by(activity_events.c.event_time, activity_events.c.id)
        )
        with (
            translated(self._engine),
            self._engine.connect() as connection,
            streamed(_unhurried(connection), query) as rows,
        ):
            for row in rows:
                yield StoredEvent(*row)

    def digests(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[WindowDigest]:
        """One digest per window, in the order given, all from one snapshot of the ledger."""
        with translated(self._engine), self._engine.connect() as connection:
            return window_digests(_snapshot(connection), self._scope(scope_id), windows)

    def rejected(self, scope_id: UUID, within: EpochWindow) -> list[RejectedEvent]:
        """Events refused whose time lies in `within`, by (event_time, id)."""
        columns = [rejected_events.c[field.name] for field in fields(RejectedEvent)]
        query = (
            select(*columns)
            .where(rejected_events.c.node_id == self.node_id, rejected_events.c.scope_id == scope_id)
            .where(rejected_events.c.event_time >= within.start, rejected_events.c.event_time < within.end)
            .order_by(rejected_events.c.event_time, rejected_events.c.event_id, rejected_events.c.id)
        )
        with translated(self._engine), self._engine.connect() as connection:
            rows = [row._asdict() for row in connection.execute(query)]
        return [RejectedEvent(**{**row, "reason": AppendOutcome(row["reason"])}) for row in rows]

    def unsettled_rejections(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> list[UnsettledRejections]:
        """One per window, in the order given."""
        with translated(self._engine), self._engine.connect() as connection:
            return tallies.unsettled_rejections(connection, self._scope(scope_id), windows)

    def events_per_type(self, scope_id: UUID, windows: Sequence[EpochWindow]) -> dict[EpochWindow, dict[str, int]]:
        """How many events each window holds, by event type; a type without an event is not there."""
        with translated(self._engine), self._engine.connect() as connection:
            return tallies.events_per_type(connection, self._scope(scope_id), windows)

    def events_per_day(self, scope_id: UUID, window: EpochWindow) -> list[DayCount]:
        """By day (UTC) and event type; what is zero is not there."""
        with translated(self._engine), self._engine.connect() as connection:
            return tallies.events_per_day(connection, self._scope(scope_id), window)

    def events_per_person(self, scope_id: UUID, window: EpochWindow) -> list[PersonCount]:
        """By person and event type."""
        with translated(self._engine), self._engine.connect() as connection:
            return tallies.events_per_person(connection, self._scope(scope_id), window)

    def _scope(self, scope_id: UUID) -> dict[str, object]:
        return {"node_id": self.node_id, "scope_id": scope_id}

    def _epochs(self, connection: Connection, scope_id: UUID, within: EpochWindow) -> list[Epoch]:
        query = (
            select(epochs)
            .where(epochs.c.node_id == self.node_id, epochs.c.scope_id == scope_id)
            .where(epochs.c.period_start < within.end, epochs.c.period_end > within.start, READABLE)
            .order_by(epochs.c.period_start)
        )
        return [_epoch(row) for row in connection.execute(query)]


def _snapshot(connection: Connection) -> Connection:
    """`connection`, whose statements from now on all see the ledger as it is at the first of them."""
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _unhurried(connection: Connection) -> Connection:
    """`connection`, in a transaction that may idle as long as the reader of its rows takes over them."""
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    return connection


def _epoch(row: Row[*tuple[object, ...]]) -> Epoch:
    pins = None
    if row.allocation_algo_ref is not None:
        pins = EpochPins(row.allocation_algo_ref, row.weight_config_hash, row.approver_set_hash, row.pinned_spec or {})
    return Epoch(
        id=row.id,
        scope_id=row.scope_id,
        window=EpochWindow(row.period_start, row.period_end),
        status=EpochStatus(row.status),
        weights_milli=row.weight_config if isinstance(row.weight_config, dict) else {},  # doctor names such a row
        pins=pins,
        closed_at=row.closed_at,
        pool_total_credits=row.pool_total_credits,
    )


def _overlap(
    window: EpochWindow, near: Sequence[Epoch], of_scope: Sequence[Epoch], created: Collection[int]
) -> EpochOverlap:
    """The refusal of `window`; what was `created` for the call is rolled back, so nothing is advised by it."""
    other = next((epoch for epoch in near if epoch.window.start < window.end and window.start < epoch.window.end), None)
    if other is None:
        return EpochOverlap(
            f"no epoch {window.key} to {window.end.date()}: a row of epochs is in its way that nothing of ours made; "
            "`ledger-pipeline doctor` names it, or else the id is taken: set the sequence epochs_id_seq higher"
        )
    stored = [epoch.window for epoch in of_scope if epoch.id not in created]
    return epoch_overlap(window, stored, f"epoch {other.id} of the scope", other.window)
