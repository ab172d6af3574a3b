"""From review to a signed statement and its amendment: what is written, and why anything else is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, event

from ledger_pipeline.core.errors import (
    ApproversChanged,
    EpochNotReady,
    ForeignSignature,
    LedgerError,
    SignerNotApproved,
    StaleSignature,
    WrongSignature,
)
from ledger_pipeline.core.pool import TOP_UP, NewPoolComponent, base_issuance
from ledger_pipeline.core.sources import PULL_REQUESTS
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash
from ledger_pipeline.pipeline.allocate import add_to_pool
from ledger_pipeline.pipeline.chain import message_of, stated_units
from ledger_pipeline.pipeline.completeness import Completeness, StreamReach, window_completeness
from ledger_pipeline.pipeline.next_step import next_steps
from ledger_pipeline.pipeline.settle import draft_statement, finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline.store.statement_records import Settlement
from ledger_pipeline_tests.builders import NODE_ID, OTHER_SCOPE_ID, REPO, SCOPE_ID, pull_request, weeks
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    EVENTS,
    GRACE_USER,
    POOL,
    SECOND_APPROVER,
    STRANGER,
    Books,
    collected,
    finalized,
    reviewed,
    rows_of,
)

FIRST, SECOND = weeks(2, "2026-02-16")
WRITTEN = ("payout_statements", "statement_signatures")
UNITS = [UserUnits(ADA_USER, 2000), UserUnits(GRACE_USER, 500)]


def paid(books: Books) -> list[dict[str, str]]:
    """Credits by user, of each statement along the chain."""
    return [
        {line["userId"]: line["amountCredits"] for line in statement.payouts}
        for statement in books.ledger.statements.of(books.epoch)
    ]


def not_ready(books: Books) -> str:
    """What draft and finalization both say that blocks them."""
    with pytest.raises(EpochNotReady) as drafting:
        books.draft()
    with pytest.raises(EpochNotReady) as finalizing:
        books.finalize(APPROVER.sign("whatever"))
    assert str(drafting.value) == str(finalizing.value)
    return str(drafting.value)


def to_sign(books: Books) -> str:
    """The message of the statement in force, or of the draft where there is none yet."""
    statements = books.ledger.statements.of(books.epoch)
    return message_of(NODE_ID, books.epoch, statements[-1]) if statements else books.draft().message


def rows_of_written(books: Books) -> tuple[int, int]:
    statements = books.ledger.statements.of(books.epoch)
    return len(statements), len(books.ledger.statements.history(books.epoch).signatures)


def not_ready_to_draft(books: Books) -> str:
    with pytest.raises(EpochNotReady) as raised:
        books.draft()
    return str(raised.value)


def not_accepted(books: Books, error: type[LedgerError], signature: str, address: str | None = None) -> str:
    """The refusal, of exactly this class, with nothing written."""
    before = books.epoch, rows_of_written(books)
    with pytest.raises(error) as raised:
        books.finalize(signature, address)
    assert type(raised.value) is error
    assert (books.epoch, rows_of_written(books)) == before
    return str(raised.value)


# Drafts.


def test_a_draft_is_the_message_to_sign_to_the_byte(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    books.materialize()
    ledger.pool.add(books.epoch, NewPoolComponent(TOP_UP, 5, evidence_ref="https://vote/7"))
    draft = books.close().draft()
    assert draft.message == (
        "Cogni Payout Statement v1\n"
        f"Node: {NODE_ID}\n"
        f"Scope: {SCOPE_ID}\n"
        f"Epoch: {books.epoch.id}\n"
        f"Allocation Hash: {allocation_set_hash(UNITS)}\n"
        "Pool Total: 10005"
    )
    assert (list(draft.units), draft.pool_total_credits, draft.supersedes) == (UNITS, 10_005, None)
    assert [(payout.user_id, payout.amount_credits) for payout in draft.payouts] == [
        (ADA_USER, 8004),
        (GRACE_USER, 2001),
    ]
    assert books.epoch.status is EpochStatus.REVIEW


def test_what_is_not_ready_says_everything_that_blocks_it(ledger: PostgresLedger) -> None:
    books = collected(ledger, base_issuance_credits=None, approvers=())
    assert "epoch 2026-02-16 of default: it is open: it goes to review first" in not_ready(books)
    books.close()
    message = not_ready(books)
    assert "its pool has no base_issuance, and it closed with none, so the owner of the ledger adds it: " in message
    assert (
        "nobody has units: `ledger-pipeline allocations propose --epoch 2026-02-16` proposes what its events weigh"
        in message
    )
    assert "nobody may sign: repo-spec.yaml names no approvers" in message

    add_to_pool(ledger, books.epoch, base_issuance(POOL))
    books.materialize()
    with pytest.raises(EpochNotReady) as raised:
        draft_statement(ledger, books.scope, books.epoch, accept_pinned_spec=True)
    assert str(raised.value) == "epoch 2026-02-16 of default: nobody may sign: repo-spec.yaml names no approvers"
    for user in (ADA_USER, GRACE_USER):
        ledger.allocations.decide(books.epoch, user, 0, "nothing")
    assert "nobody has units" in not_ready(books)
    assert rows_of_written(books) == (0, 0)


def test_next_steps_name_what_is_missing_and_nothing_where_it_can_be_taken(ledger: PostgresLedger) -> None:
    books = collected(ledger)

    def steps(now: datetime) -> list[str]:
        epoch = books.epoch
        read = Completeness(epoch.window, (StreamReach(REPO, PULL_REQUESTS, epoch.window.end),))
        return next_steps(NODE_ID, books.scope, epoch, partial(ledger.statements.settlement, epoch), read, now)

    end = books.of.end
    assert any("it runs until" in step for step in steps(end - timedelta(days=1)))
    books.close()
    assert [step.split(":")[0] for step in steps(end)] == ["not curated", "nobody has units"]
    books.materialize()
    assert steps(end) == []
    books.finalize(books.signature())
    assert steps(end) == []


# Finalizing.


def test_finalizing_writes_statement_signature_status_and_pool_in_one_transaction(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    epoch, signature, spec = books.epoch, books.signature(), books.spec
    written: list[str] = []

    def note(*seen: object) -> None:
        statement = str(seen[2]).split()
        if statement[0] in {"INSERT", "UPDATE"}:
            written.append(" ".join(statement[:3]))

    event.listen(ledger_engine, "before_cursor_execute", note)
    event.listen(ledger_engine, "commit", lambda _: written.append("commit"))
    statement = finalize(ledger, spec, epoch, signature).statement
    assert written == [
        "INSERT INTO payout_statements",
        "INSERT INTO statement_signatures",
        "UPDATE epochs SET",
        "commit",
    ]
    assert ledger.statements.of(epoch) == [statement]
    assert statement is not None
    assert stated_units(statement) == UNITS
    assert list(statement.payouts) == [
        {"userId": ADA_USER, "totalUnits": "2000", "share": "0.800000", "amountCredits": "8000"},
        {"userId": GRACE_USER, "totalUnits": "500", "share": "0.200000", "amountCredits": "2000"},
    ]
    assert (statement.allocation_set_hash, statement.supersedes_statement_id) == (allocation_set_hash(UNITS), None)
    assert (books.epoch.status, books.epoch.pool_total_credits) == (EpochStatus.FINALIZED, POOL)
    [signed] = ledger.statements.history(epoch).signatures
    assert (signed.signer_wallet, signed.signature) == (APPROVER.address, signature)


def test_again_it_is_the_same_statement_and_a_second_approver_adds_a_signature(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    message = books.draft().message
    first = books.finalize(APPROVER.sign(message))
    assert books.finalize(APPROVER.sign(message)) == first
    assert rows_of(ledger_engine, *WRITTEN) == dict.fromkeys(WRITTEN, 1)
    assert books.finalize(SECOND_APPROVER.sign(message), SECOND_APPROVER.address.lower()) == first
    assert books.finalize(SECOND_APPROVER.sign(message)) == first
    assert books.signers == {first.id: sorted(APPROVERS)}
    assert not_ready_to_draft(books) == (
        "epoch 2026-02-16 of default: it has its statement; `ledger-pipeline epoch amend` puts units right"
    )


def test_a_signature_is_kept_in_one_spelling(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    books.finalize(signature.removeprefix("0x").upper(), APPROVER.address.upper().replace("X", "x"))
    assert [signature.signature for signature in ledger.statements.history(books.epoch).signatures] == [signature]


@pytest.mark.parametrize("start", [reviewed, finalized])
def test_a_signature_that_does_not_fit_is_told_for_what_it_is(
    ledger: PostgresLedger, start: Callable[..., Books]
) -> None:
    books = start(ledger)
    message = to_sign(books)
    good = APPROVER.sign(message)

    for malformed in ("", "0x", "0xzz", good[:-2], good + "00", f"0x{'00' * 65}", f"0x{'ff' * 65}", "not hex"):
        not_accepted(books, WrongSignature, malformed)
    assert f"is {APPROVER.address}'s, not {SECOND_APPROVER.address}'s" in not_accepted(
        books, WrongSignature, good, SECOND_APPROVER.address
    )
    assert f"not {APPROVER.address}'s of this epoch's message" in not_accepted(
        books, WrongSignature, APPROVER.sign("Hello"), APPROVER.address
    )
    stranger = STRANGER.sign(message)
    assert "is no approver of default" in not_accepted(books, SignerNotApproved, stranger, STRANGER.address)
    assert f"recovers to {STRANGER.address}" in not_accepted(books, SignerNotApproved, stranger)
    not_accepted(books, SignerNotApproved, APPROVER.sign("Hello"))


@pytest.mark.parametrize("start", [reviewed, finalized])
def test_a_signature_of_another_epoch_or_scope_is_foreign(ledger: PostgresLedger, start: Callable[..., Books]) -> None:
    books = start(ledger, of=FIRST)
    next_week = reviewed(ledger, of=SECOND)
    second_books = replace(
        reviewed(ledger, scope_id=OTHER_SCOPE_ID, scope_key="other", approvers=(STRANGER.address,)),
        others=(books.scope,),
    )
    books = replace(books, others=(second_books.scope,))
    assert f"is of epoch {next_week.epoch.id} of default, not of epoch {books.epoch.id}" in not_accepted(
        books, ForeignSignature, next_week.signature()
    )
    assert f"is of epoch {second_books.epoch.id} of other" in not_accepted(
        books, ForeignSignature, second_books.signature(by=STRANGER), STRANGER.address
    )
    # Of a scope that no spec names nothing is known, so its approvers are strangers.
    not_accepted(replace(books, others=()), SignerNotApproved, second_books.signature(by=STRANGER))


def test_a_signature_is_stale_once_units_or_pool_have_changed(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    first = books.signature()
    ledger.allocations.decide(books.epoch, GRACE_USER, 501, "one more")
    message = not_accepted(books, StaleSignature, first)
    assert f"is of allocations {allocation_set_hash(UNITS)} and a pool of 10000, and epoch 2026-02-16 has" in message
    assert books.finalize(books.signature()) == ledger.statements.of(books.epoch)[0]
    assert paid(books) == [{ADA_USER: "7997", GRACE_USER: "2003"}]


@pytest.mark.parametrize("start", [reviewed, finalized])
def test_approvers_other_than_those_pinned_sign_nothing(ledger: PostgresLedger, start: Callable[..., Books]) -> None:
    books = start(ledger)
    message = to_sign(books)
    for approvers in ((*APPROVERS, STRANGER.address), APPROVERS[:1], (STRANGER.address,)):  # more, less, another
        changed = books.with_scope(approvers=approvers)
        for wallet in (APPROVER, STRANGER):
            refusal = not_accepted(changed, ApproversChanged, wallet.sign(message))
            assert "its approvers were pinned as" in refusal
            assert "put them back as they were then" in refusal
        if start is reviewed:
            with pytest.raises(ApproversChanged):
                changed.draft()
    # Order and case are no change.
    same = books.with_scope(approvers=tuple(address.lower() for address in reversed(APPROVERS)))
    assert same.finalize(SECOND_APPROVER.sign(message)) == ledger.statements.of(books.epoch)[0]


# Amending.


def test_an_amendment_supersedes_the_original_and_leaves_it_as_it_was(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    allocations, epoch = ledger.allocations.of(books.epoch), books.epoch
    books.correct(ADA_USER, 500, "counted twice")
    books.correct("lin", 1000, "forgotten")
    draft = books.draft()
    assert (draft.supersedes, draft.pool_total_credits) == (original.id, POOL)
    amendment = books.finalize(SECOND_APPROVER.sign(draft.message))

    assert ledger.statements.of(books.epoch) == [original, amendment]
    assert amendment.supersedes_statement_id == original.id
    assert paid(books) == [
        {ADA_USER: "8000", GRACE_USER: "2000"},
        {"lin": "5000", ADA_USER: "2500", GRACE_USER: "2500"},
    ]
    assert books.signers == {original.id: [APPROVER.address], amendment.id: [SECOND_APPROVER.address]}
    assert (ledger.allocations.of(books.epoch), books.epoch) == (allocations, epoch)
    # Signed again it is the amendment that is in force; its own corrections start from nothing.
    assert books.finalize(APPROVER.sign(draft.message)) == amendment
    assert "it has its statement" in not_ready_to_draft(books)
    assert books.amend("lin", 0).supersedes_statement_id == amendment.id
    assert paid(books)[-1] == {"lin": "0", ADA_USER: "5000", GRACE_USER: "5000"}


def test_an_old_statement_signed_again_creates_nothing_and_is_told_to_be_stale(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    original = books.finalize(signature)
    books.correct(ADA_USER, 500, "counted twice")
    # While the original is in force it may still be signed, corrections or not.
    assert books.finalize(signature) == original
    amendment = books.finalize(books.signature())
    not_accepted(books, StaleSignature, signature)
    # Nor does it come to stand for the next amendment.
    books.correct(ADA_USER, 700, "counted again")
    not_accepted(books, StaleSignature, signature)
    assert ledger.statements.of(books.epoch) == [original, amendment]


def test_a_signature_of_an_amendment_is_stale_once_another_correction_comes(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    books.correct(ADA_USER, 500, "counted twice")
    signature = books.signature()
    books.correct(GRACE_USER, 700, "forgotten")
    not_accepted(books, StaleSignature, signature)
    changed = books.with_scope(approvers=APPROVERS[:1])
    with pytest.raises(ApproversChanged):
        changed.draft()
    assert books.finalize(books.signature()).supersedes_statement_id is not None


def test_corrections_that_change_nothing_make_no_amendment(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    books.correct(ADA_USER, 2000, "as it was")
    assert f"the numbers are those of statement {original.id}" in not_ready_to_draft(books)
    assert books.finalize(SECOND_APPROVER.sign(to_sign(books))) == original
    assert books.signers == {original.id: sorted(APPROVERS)}


def test_an_amendment_that_leaves_nobody_any_units_is_not_ready(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    for user in (ADA_USER, GRACE_USER):
        books.correct(user, 0, "none of it was theirs")
    assert "its corrections leave nobody any units" in not_ready(books)
    assert rows_of_written(books) == (1, 1)
    books.amend("lin", 1)
    assert paid(books)[-1] == {"lin": "10000", ADA_USER: "0", GRACE_USER: "0"}


def test_what_does_not_follow_from_the_curation_any_more_is_not_signed(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    assert ledger.curation.judge(books.epoch, EVENTS[0].id, Judgement("a copy", included=False))
    with pytest.raises(
        EpochNotReady, match="do not follow from its curation any more: `ledger-pipeline allocations propose --ep"
    ):
        books.finalize(signature)
    books.materialize()
    with pytest.raises(StaleSignature):
        books.finalize(signature)
    assert books.finalize(books.signature()).payouts


def test_an_epoch_with_events_that_nobody_curated_is_not_signed(ledger: PostgresLedger) -> None:
    books = collected(ledger)
    books.materialize()
    books.append(pull_request(9)).close()
    with pytest.raises(
        EpochNotReady, match="not curated: 1 event; `ledger-pipeline allocations propose --epoch 2026-02-16` cu"
    ):
        books.draft()


def test_an_epoch_that_another_system_finalized_gets_no_statement(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    set_status(ledger_engine, books.scope.scope_id, books.of, EpochStatus.FINALIZED)
    with pytest.raises(EpochNotReady, match="another system finalized it"):
        books.draft()


@pytest.mark.parametrize(("stage", "asked"), [(collected, 0), (reviewed, 1), (finalized, 0)])
def test_only_of_an_epoch_in_review_the_settlement_is_read(
    ledger: PostgresLedger, stage: Callable[[PostgresLedger], Books], asked: int
) -> None:
    books = stage(ledger)
    read = window_completeness(ledger, books.scope, [books.of])[books.of]
    reads: list[Epoch] = []

    def settlement() -> Settlement:
        reads.append(books.epoch)
        return ledger.statements.settlement(books.epoch)

    next_steps(NODE_ID, books.scope, books.epoch, settlement, read, books.of.end)
    assert len(reads) == asked
