"""Where several approvers have to sign, a statement is in force at the last of as many, and never before."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import EpochNotReady, SignerNotApproved, StaleSignature, StoreError, StoreUnavailable
from ledger_pipeline.core.pins import pinned_spec
from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.pipeline.allocate import allocate
from ledger_pipeline.pipeline.chain import forms_of, statement_chain
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.next_step import spec_differences
from ledger_pipeline.pipeline.review import Review, review
from ledger_pipeline.pipeline.set_aside import set_numbered_aside
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.pipeline.signed_inputs import SignedInputs
from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.store.statement_records import Finalization, Numbered, NumberedRows
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import NODE_ID, instant
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    EVENTS,
    SECOND_APPROVER,
    STRANGER,
    THIRD_APPROVER,
    Books,
    Wallet,
    refused,
    reviewed,
    rows_of,
    settling_scope,
)
from ledger_pipeline_tests.store.test_roles import url_of
from ledger_pipeline_tests.store.test_statements import killed_at

THREE = (*APPROVERS, THIRD_APPROVER.address)
TYPED, TEXT = Scheme.TYPED_DATA, Scheme.ATTRIBUTION_TEXT


def two_of_three(ledger: PostgresLedger, **options: Any) -> Books:
    return reviewed(ledger, **{"approvers": THREE, "approval_threshold": 2, "chain_id": 84532, **options})


def sign(books: Books, by: Wallet, scheme: Scheme = TYPED) -> Finalization:
    """Sign what is to be signed now, and hand it in."""
    return finalize(books.ledger, books.spec, books.epoch, by.sign(books.draft().forms[scheme]))


def done(made: Finalization) -> tuple[str, str]:
    return made.outcome.value, str(made.approvals)


def looked_at(books: Books) -> Review:
    read = window_completeness(books.ledger, books.scope, [books.epoch.window])[books.epoch.window]
    return review(books.ledger, books.scope, books.epoch, read, instant("2026-03-02"))


def in_force(engine: Engine, books: Books) -> UUID | None:
    """The statement in force, as the database says it."""
    with engine.connect() as connection:
        epoch = {"epoch": books.epoch.id}
        statement: UUID | None = connection.scalar(text("SELECT ledger_statement_in_force(:epoch)"), epoch)
        shown = connection.scalars(text("SELECT id FROM epoch_statements WHERE epoch_id = :epoch"), epoch).all()
    assert shown == ([] if statement is None else [statement])
    chain = statement_chain(NODE_ID, books.scope, books.epoch, books.ledger.statements.history(books.epoch))
    assert (None if chain.in_force is None else chain.in_force.id) == statement
    return statement


@pytest.fixture
def writer(ledger_url: str) -> Iterator[Engine]:
    login = url_of(ledger_url, "roles_threshold", "secret")
    ensure_logins(ledger_url, {WRITER: login})
    engine = make_engine(login)
    yield engine
    engine.dispose()


# From the first signature to the last.


def test_the_statement_is_in_force_at_the_last_of_as_many_approvers_and_never_before(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = two_of_three(ledger)
    assert looked_at(books).state == "signed 0 of 2, ready to sign"
    first = sign(books, APPROVER)
    assert (first.statement, done(first)) == (None, ("collected", "signed 1 of 2"))
    assert looked_at(books).state == "signed 1 of 2, ready to sign"
    assert looked_at(books).collected.signers == [APPROVER.address]
    assert (books.epoch.status, in_force(ledger_engine, books)) == (EpochStatus.REVIEW, None)

    second = sign(books, THIRD_APPROVER)
    assert second.statement is not None
    assert done(second) == ("stated", "signed 2 of 2")
    assert (books.epoch.status, in_force(ledger_engine, books)) == (EpochStatus.FINALIZED, second.statement.id)
    assert books.signers == {second.statement.id: sorted([APPROVER.address, THIRD_APPROVER.address])}
    assert looked_at(books).state.startswith("signed 2 of 2 by 0x")
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []

    # A further one is no harm, and whoever has signed has signed.
    typed = SECOND_APPROVER.sign(forms_of(NODE_ID, books.epoch, second.statement)[TYPED])
    assert done(finalize(ledger, books.spec, books.epoch, typed)) == ("signed", "signed 3 of 2")
    assert done(finalize(ledger, books.spec, books.epoch, typed)) == ("unchanged", "signed 3 of 2")
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


def test_an_approver_who_signs_again_in_whichever_form_counts_once(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    sign(books, APPROVER)
    for scheme in (TYPED, TEXT):
        again = sign(books, APPROVER, scheme)
        assert (again.statement, done(again)) == (None, ("unchanged", "signed 1 of 2"))
    assert [row.scheme for row in ledger.statements.settlement(books.epoch).collected] == [TYPED]
    with pytest.raises(SignerNotApproved):
        sign(books, STRANGER)
    assert done(sign(books, SECOND_APPROVER, TEXT)) == ("stated", "signed 2 of 2")


def test_one_approver_suffices_where_nothing_else_is_said_and_nothing_is_pinned_of_it(ledger: PostgresLedger) -> None:
    books = reviewed(ledger, approval_threshold=1)
    assert pinned_spec(books.scope) == pinned_spec(settling_scope())
    assert done(finalize(ledger, books.spec, books.epoch, books.signature())) == ("stated", "signed 1 of 1")


def test_an_amendment_needs_as_many_and_until_then_the_earlier_statement_is_in_force(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = two_of_three(ledger)
    sign(books, APPROVER)
    original = sign(books, SECOND_APPROVER).statement
    assert original is not None
    books.correct(ADA_USER, 1000, "counted again")
    assert done(sign(books, THIRD_APPROVER)) == ("collected", "signed 1 of 2")
    assert in_force(ledger_engine, books) == original.id
    assert looked_at(books).state == "signed 1 of 2, ready to sign: an amendment"
    amendment = sign(books, APPROVER)
    assert amendment.statement is not None
    assert (done(amendment), amendment.numbers.supersedes) == (("amended", "signed 2 of 2"), original.id)
    assert in_force(ledger_engine, books) == amendment.statement.id
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


# Numbers that changed.


def test_a_signature_of_numbers_that_changed_is_kept_stale_and_counts_for_nothing(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    signature = APPROVER.sign(books.draft().forms[TYPED])
    finalize(ledger, books.spec, books.epoch, signature)
    assert ledger.curation.judge(books.epoch, EVENTS[0].id, Judgement("it was a revert", included=False))
    allocate(ledger, books.scope, books.epoch)
    stale = looked_at(books).collected
    assert ([row.signature for row in stale.stale], list(stale.current)) == ([signature], [])
    assert looked_at(books).state == "signed 0 of 2, ready to sign"
    with pytest.raises(StaleSignature):
        finalize(ledger, books.spec, books.epoch, signature)
    assert done(sign(books, SECOND_APPROVER)) == ("collected", "signed 1 of 2")
    made = sign(books, THIRD_APPROVER)
    assert made.statement is not None
    assert books.signers[made.statement.id] == sorted([SECOND_APPROVER.address, THIRD_APPROVER.address])
    assert [row.signature for row in looked_at(books).collected.stale] == [signature]


def test_a_signature_of_an_amendment_that_was_corrected_again_is_stale_for_ever(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    sign(books, APPROVER)
    sign(books, SECOND_APPROVER)
    books.correct(ADA_USER, 1000, "counted again")
    sign(books, APPROVER)
    books.correct(ADA_USER, 900, "counted once more")
    assert looked_at(books).state == "signed 0 of 2, ready to sign: an amendment"
    sign(books, SECOND_APPROVER)
    assert done(sign(books, THIRD_APPROVER)) == ("amended", "signed 2 of 2")
    # Behind another statement the same numbers are refused: what was signed before would be good for them.
    books.correct(ADA_USER, 1000, "counted again")
    with pytest.raises(EpochNotReady, match="handed out before"):
        books.draft()
    assert len(looked_at(books).collected.stale) == 1


def test_what_was_set_aside_with_its_request_counts_for_nothing(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    sign(books, APPROVER)
    assert set_numbered_aside(ledger, NumberedRows(Numbered.REQUEST, 1, 1), "nobody knows who signed it") == 1
    assert looked_at(books).state == "signed 0 of 2, ready to sign"
    assert done(sign(books, SECOND_APPROVER)) == ("collected", "signed 1 of 2")
    assert done(sign(books, APPROVER)) == ("stated", "signed 2 of 2")


def test_a_signature_of_the_inputs_waits_for_the_statement(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    inputs = SignedInputs(f"0x{9:0130x}", lambda rows: "00")
    with pytest.raises(EpochNotReady, match="signature of its inputs has its place under a statement"):
        finalize(ledger, books.spec, books.epoch, APPROVER.sign(books.draft().message), inputs=inputs)
    assert ledger.statements.settlement(books.epoch).collected == []


# What was pinned.


def test_the_threshold_is_pinned_when_an_epoch_closes_and_another_now_is_asked_about(ledger: PostgresLedger) -> None:
    books = two_of_three(ledger)
    sign(books, APPROVER)
    for now in (1, 3):
        changed = books.with_scope(approval_threshold=now)
        [difference] = spec_differences(changed.scope, books.epoch, ledger.selection.known_names)
        assert str(difference) == f"approval_threshold was pinned as 2, and the repo-spec says {now}"
        with pytest.raises(EpochNotReady, match="approval_threshold was pinned as 2"):
            changed.draft()
        draft = draft_statement(ledger, changed.scope, books.epoch, accept_pinned_spec=True)
        assert draft.forms == books.draft().forms
    signature = SECOND_APPROVER.sign(books.draft().forms[TYPED])
    made = finalize(ledger, changed.spec, books.epoch, signature, accept_pinned_spec=True)
    assert done(made) == ("stated", "signed 2 of 2")


def test_no_epoch_closes_with_a_threshold_that_its_approvers_cannot_reach(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    two_of_three(ledger)
    thresholds = ["1", "4", "0", "-1", "true", '"2"', "2.5", "null", "[]", "99999"]
    asked = text("""
        SELECT ledger_pins_problem(scope_id, weight_config, allocation_algo_ref, weight_config_hash, approver_set_hash,
            jsonb_set(pinned_spec, '{approval_threshold}', CAST(threshold AS jsonb)))
        FROM epochs, unnest(CAST(:thresholds AS text[])) AS threshold
    """)
    with ledger_engine.connect() as connection:
        problems = connection.scalars(asked, {"thresholds": [*thresholds, "2", "3"]}).all()
    refusal = "the approval_threshold of pinned_spec is not from 2 to the number of its approvers"
    assert problems == [*([refusal] * len(thresholds)), None, None]


# At once, and interrupted.


@pytest.mark.parametrize(
    ("signers", "outcomes"),
    [
        (((APPROVER, TYPED), (SECOND_APPROVER, TYPED)), ["collected", "stated"]),
        (((APPROVER, TYPED), (APPROVER, TYPED)), ["collected", "unchanged"]),
        (((APPROVER, TYPED), (APPROVER, TEXT)), ["collected", "unchanged"]),
        (((APPROVER, TYPED), (SECOND_APPROVER, TEXT), (THIRD_APPROVER, TYPED)), ["collected", "signed", "stated"]),
    ],
)
def test_whoever_signs_at_once_is_counted_one_after_the_other(
    ledger: PostgresLedger, ledger_engine: Engine, signers: tuple[tuple[Wallet, Scheme], ...], outcomes: list[str]
) -> None:
    books = two_of_three(ledger)
    forms, epoch = books.draft().forms, books.epoch
    signatures = [wallet.sign(forms[scheme]) for wallet, scheme in signers]
    with ThreadPoolExecutor(len(signatures)) as pool:
        made = list(pool.map(lambda signature: finalize(ledger, books.spec, epoch, signature), signatures))
    assert sorted(finalization.outcome.value for finalization in made) == outcomes
    finalized = "stated" in outcomes
    assert books.epoch.status is (EpochStatus.FINALIZED if finalized else EpochStatus.REVIEW)
    assert (in_force(ledger_engine, books) is not None) == finalized
    assert rows_of(ledger_engine, "collected_signatures") == {"collected_signatures": 1}


def test_killed_at_any_statement_between_the_signatures_no_fewer_ever_finalize(
    ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str
) -> None:
    books, own_engine = two_of_three(ledger), make_engine(ledger_url)
    forms, mine, epoch = books.draft().forms, books.seen_by(own_engine), books.epoch
    tables = ("collected_signatures", "payout_statements", "statement_signatures")
    for wallet, before, after in ((APPROVER, (0, 0, 0), (1, 0, 0)), (SECOND_APPROVER, (1, 0, 0), (1, 1, 2))):
        nth, made = 0, None
        while made is None:
            nth += 1
            with killed_at(own_engine, ledger_engine, nth, "after") as executed, suppress(StoreUnavailable):
                made = finalize(mine.ledger, mine.spec, epoch, wallet.sign(forms[TYPED]))
            if made is None:
                assert tuple(rows_of(ledger_engine, *tables).values()) == before, f"killed after statement {nth}"
                assert books.epoch.status is EpochStatus.REVIEW
        assert nth == executed() + 1 >= 10
        assert tuple(rows_of(ledger_engine, *tables).values()) == after
    assert books.epoch.status is EpochStatus.FINALIZED
    own_engine.dispose()


# Who may write to the ledger.

STATE = """
    INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json)
    SELECT node_id, id, repeat('a', 64), 10000, '[]' FROM epochs WHERE id = :epoch
"""
SIGN = """
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature, scheme)
    SELECT node_id, id, unnest(CAST(:wallets AS text[])), '0x' || repeat('1', 128) || '1b', 'eip712-attribution-v1'
    FROM payout_statements WHERE epoch_id = :epoch
"""
FINALIZE = "UPDATE epochs SET status = 'finalized', pool_total_credits = 10000 WHERE id = :epoch"


def in_one_transaction(engine: Engine, steps: Iterable[str], given: Mapping[str, object]) -> None:
    with engine.begin() as connection:
        for step in steps:
            connection.execute(text(step), given)


@pytest.mark.parametrize("wallets", [[], [APPROVER.address], [APPROVER.address, APPROVER.address.lower()]])
def test_nobody_writes_a_statement_or_finalizes_with_fewer_signatures_than_were_pinned(
    ledger: PostgresLedger, ledger_engine: Engine, writer: Engine, wallets: list[str]
) -> None:
    books = two_of_three(ledger)
    given = {"epoch": books.epoch.id, "wallets": wallets}
    for engine in (writer, ledger_engine):
        for steps in ((STATE, SIGN), (STATE, SIGN, FINALIZE)):
            with pytest.raises(DBAPIError, match="is signed by 2 approvers, and its statement by fewer"):
                in_one_transaction(engine, steps, given)
    assert books.epoch.status is EpochStatus.REVIEW
    assert in_force(ledger_engine, books) is None


def test_who_makes_up_as_many_signatures_puts_nothing_in_force_that_anybody_pays_by(
    ledger: PostgresLedger, writer: Engine
) -> None:
    books = two_of_three(ledger)
    real = APPROVER.sign(books.draft().forms[TYPED])
    given = {"epoch": books.epoch.id, "wallets": [SECOND_APPROVER.address, THIRD_APPROVER.address]}
    in_one_transaction(writer, (STATE, SIGN, FINALIZE), given)
    chain = statement_chain(NODE_ID, books.scope, books.epoch, ledger.statements.history(books.epoch))
    assert (chain.in_force, len(chain.broken), len(chain.garbage)) == (None, 1, 2)
    with pytest.raises(EpochNotReady, match="no pinned approver signed it; nothing is built on it"):
        finalize(ledger, books.spec, books.epoch, real)
    assert "so it is not in force" in str(verify(facts_of(ledger.statements.rows(books.epoch))))


COLLECT = """
    INSERT INTO collected_signatures (node_id, epoch_id, request_id, signer_wallet, signature, scheme)
    SELECT node_id, epoch_id, id, :wallet, '0x' || lpad(CAST(:number AS text), 128, '0') || '1b', :scheme
    FROM signing_requests WHERE epoch_id = :epoch ORDER BY id LIMIT 1
"""


def test_made_up_signatures_count_for_nothing_have_few_places_and_give_them_back(
    ledger: PostgresLedger, writer: Engine
) -> None:
    books = two_of_three(ledger)
    books.draft()
    given = {"epoch": books.epoch.id, "wallet": SECOND_APPROVER.address, "scheme": "eip712-attribution-v1"}
    assert "is not among the approvers that the epoch pinned" in refused(
        writer, COLLECT, **given | {"wallet": STRANGER.address, "number": 1}
    )
    assert "closed with a chain, and is not signed by eip191-payout-v1" in refused(
        writer, COLLECT, **given | {"scheme": "eip191-payout-v1", "number": 1}
    )
    for number in (*range(1, 9), 1):
        with writer.begin() as connection:
            connection.execute(text(COLLECT), {**given, "number": number})
    assert "stand there as have a place" in refused(writer, COLLECT, **given, number=9)
    assert "append-only" in refused(ledger.statements._engine, "DELETE FROM collected_signatures")
    before = looked_at(books)
    assert (before.state, len(before.faults)) == ("signed 0 of 2, ready to sign", 8)
    with pytest.raises(StoreError, match="set-aside request:1"):
        sign(books, SECOND_APPROVER)
    assert set_numbered_aside(ledger, NumberedRows(Numbered.REQUEST, 1, 1), "somebody made signatures up") == 1
    assert done(sign(books, SECOND_APPROVER)) == ("collected", "signed 1 of 2")
    assert done(sign(books, APPROVER)) == ("stated", "signed 2 of 2")


def test_epochs_that_closed_with_a_threshold_are_not_forgotten_by_going_down(
    ledger: PostgresLedger, ledger_url: str
) -> None:
    two_of_three(ledger)
    with pytest.raises(StoreError, match="refused: 1 epochs closed with an approval_threshold"):
        migrations.downgrade(ledger_url, "0085")
