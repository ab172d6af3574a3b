"""An epoch on its way to a signed statement, in a real ledger: each step one line, the whole way one call.

    books = reviewed(ledger)                      # events appended, users bound, curated, allocated, pool, closed
    statement = books.finalize(books.signature())

Ada has two pull requests (2000 milli-units), Grace a review (500), and they share POOL credits.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.signing import Signable, StructuredData
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.allocate import allocate, curate, fill_pool
from ledger_pipeline.pipeline.epochs import close
from ledger_pipeline.pipeline.settle import Draft, correct, draft_statement, finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.settlement_records import Allocation, NewBinding
from ledger_pipeline.store.statement_records import Statement
from ledger_pipeline_tests.builders import (
    ADA,
    GRACE,
    NODE_ID,
    PRODUCER,
    cursor,
    instant,
    pull_request,
    receipt,
    review,
    scope,
    window,
)

POOL = 10_000
ADA_USER, GRACE_USER = "user-ada", "user-grace"
USERS = {ADA.user_id: ADA_USER, GRACE.user_id: GRACE_USER}
EVENTS = (pull_request(1), pull_request(2), review(1))


def events_of(week: EpochWindow) -> tuple[ActivityEvent, ...]:
    """EVENTS, or in another window than `window()` the like of them with numbers of their own."""
    if week == window():
        return EVENTS
    number, at = 10 * week.start.toordinal(), week.start.strftime("%Y-%m-%dT12:00:00Z")
    return pull_request(number + 1, at=at), pull_request(number + 2, at=at), review(number + 1, at=at)


@dataclass(frozen=True)
class Wallet:
    """A throw-away key that follows from its name, and its checksummed address."""

    name: str
    address: str

    def sign(self, message: Signable) -> str:
        """As `personal_sign` gives it, or `eth_signTypedData_v4`: `0x` and 65 bytes in hex."""
        # Imported here: it takes seconds, and most tests sign nothing; and it raises the limit of the process.
        limit = sys.getrecursionlimit()
        from eth_account import Account
        from eth_account.messages import encode_defunct, encode_typed_data

        sys.setrecursionlimit(limit)
        account = Account.from_key(sha256(self.name.encode()).digest())
        assert account.address == self.address
        if isinstance(message, StructuredData):
            encoded = encode_typed_data(full_message=message.to_wallet_json())
        else:
            encoded = encode_defunct(text=message)
        return f"0x{account.sign_message(encoded).signature.hex().removeprefix('0x')}"


APPROVER = Wallet("approver", "0xF79990CA4DCA80E46ebC61e08151341A3482b136")
SECOND_APPROVER = Wallet("second approver", "0xd5185e2027B22cFf23C1d050CEA0E03f199dE697")
THIRD_APPROVER = Wallet("third approver", "0x26d12A1Caee29E0a333DaD83cc5F80Eb756276AB")
STRANGER = Wallet("stranger", "0x17907AB670C927E23129E65F774C4b14886e61EB")
APPROVERS = (APPROVER.address, SECOND_APPROVER.address)


def settling_scope(**options: Any) -> Scope:
    """A scope that can finalize: approvers, and POOL credits an epoch."""
    return scope(**{"approvers": APPROVERS, "base_issuance_credits": POOL, **options})


def bound(users: Mapping[int, str]) -> list[NewBinding]:
    """GitHub accounts by their numeric id, with the user each belongs to."""
    return [NewBinding(GITHUB, str(account), user) for account, user in users.items()]


def read_to_end(ledger: PostgresLedger, of_scope: Scope, of: EpochWindow) -> None:
    """Cursors and receipts of every part of `of_scope`: each was read over all of the window, and past its end."""
    until = of.end + timedelta(hours=1)
    parts = [
        {"stream": stream, "source_scope": source_scope}
        for spec in of_scope.sources
        for source_scope in spec.source_scopes
        for stream in spec.streams
    ]
    ledger.scans.finish(
        of_scope.scope_id,
        [cursor(until, of.start, **stream) for stream in parts],
        until,
        [receipt(until, of.start, of=of, **stream) for stream in parts],
    )


@dataclass(frozen=True)
class Books:
    """One scope's epoch of `of` in `ledger`, and the repo-spec it is settled by."""

    ledger: PostgresLedger
    scope: Scope = field(default_factory=settling_scope)
    of: EpochWindow = field(default_factory=window)
    others: Sequence[Scope] = ()

    @property
    def spec(self) -> RepoSpec:
        return RepoSpec(NODE_ID, (self.scope, *self.others), "repo-spec.yaml")

    @property
    def epoch(self) -> Epoch:
        """As the ledger holds it now; made where missing."""
        [epoch] = self.ledger.epochs.ensure(self.scope.scope_id, [self.of], self.scope.weights_milli).epochs
        return epoch

    def seen_by(self, engine: Engine) -> "Books":
        """The same through another engine: a login of its own, or connections of its own."""
        return replace(self, ledger=PostgresLedger(engine, NODE_ID))

    def with_scope(self, **changes: Any) -> "Books":
        """The same with another repo-spec."""
        return replace(self, scope=replace(self.scope, **changes))

    def append(self, *events: ActivityEvent) -> "Books":
        self.ledger.events.append(self.scope.scope_id, events, PRODUCER, instant("2026-02-24"))
        return self

    def bind(self, users: Mapping[int, str] = USERS) -> "Books":
        self.ledger.identities.bind(bound(users))
        return self

    def materialize(self) -> list[Allocation]:
        """Curate, allocate and fill the pool, as the assets do."""
        curate(self.ledger, self.scope, self.epoch)
        allocations = allocate(self.ledger, self.scope, self.epoch)
        fill_pool(self.ledger, self.epoch)
        return allocations

    def read(self) -> "Books":
        """Read to the epoch's end, as scans leave it behind them."""
        read_to_end(self.ledger, self.scope, self.of)
        return self

    def close(self) -> "Books":
        self.read()
        assert close(self.ledger, self.scope, self.epoch)
        return self

    def draft(self) -> Draft:
        return draft_statement(self.ledger, self.scope, self.epoch)

    def signature(self, by: Wallet = APPROVER) -> str:
        """Of what is to be signed now."""
        return by.sign(self.draft().message)

    def finalize(self, signature: str, signer_address: str | None = None) -> Statement:
        statement = finalize(self.ledger, self.spec, self.epoch, signature, signer_address).statement
        assert statement is not None
        return statement

    def correct(self, user_id: str, units: int, reason: str) -> None:
        """Put units right for the statement that supersedes the one in force."""
        correct(self.ledger, self.scope, self.epoch, user_id, units, reason)

    def amend(self, user_id: str, units: int, by: Wallet = APPROVER) -> Statement:
        """Correct the statement in force, and sign what supersedes it."""
        self.correct(user_id, units, "counted again")
        return self.finalize(self.signature(by))

    @property
    def signers(self) -> dict[UUID, list[str]]:
        """Who signed, by statement, along the chain; wallets sorted."""
        statements = self.ledger.statements.of(self.epoch)
        signatures = self.ledger.statements.history(self.epoch).signatures
        return {
            statement.id: sorted(row.signer_wallet for row in signatures if row.statement_id == statement.id)
            for statement in statements
        }


def collected(
    ledger: PostgresLedger,
    *events: ActivityEvent,
    users: Mapping[int, str] = USERS,
    of: EpochWindow | None = None,
    **scope_options: Any,
) -> Books:
    """An open epoch with `events` (`events_of` it where none is given), its `users` bound; nothing curated."""
    books = Books(ledger, settling_scope(**scope_options), of or window())
    assert books.epoch
    return books.append(*(events or events_of(books.of))).bind(users)


def reviewed(ledger: PostgresLedger, *events: ActivityEvent, **options: Any) -> Books:
    """An epoch in review that waits for its signature only."""
    books = collected(ledger, *events, **options)
    books.materialize()
    return books.close()


def finalized(ledger: PostgresLedger, *events: ActivityEvent, **options: Any) -> Books:
    """An epoch with its statement, signed by APPROVER."""
    books = reviewed(ledger, *events, **options)
    books.finalize(books.signature())
    return books


def rows_of(engine: Engine, *tables: str) -> dict[str, int]:
    """How many rows each table has."""
    with engine.connect() as connection:
        return {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in tables}


def refused(engine: Engine, statement: str, **parameters: object) -> str:
    """The first line of the database's refusal, whoever asks."""
    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        connection.execute(text(statement), parameters)
    return str(raised.value.orig).splitlines()[0]
