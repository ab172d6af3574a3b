"""What a stolen writer adds to a chain is never in force, never built on, named, and taken out on record."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import EpochNotReady, SignerNotApproved, StaleSignature, StoreError
from ledger_pipeline.core.signatures import ORDER, canonical_signature
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash, compute_payouts
from ledger_pipeline.pipeline.chain import StatementChain, message_of, statement_chain
from ledger_pipeline.pipeline.set_aside import set_aside
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.statement_records import Outcome
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline.wallets import recover_signer
from ledger_pipeline_tests.builders import NODE_ID, weeks
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    GRACE_USER,
    POOL,
    SECOND_APPROVER,
    STRANGER,
    Books,
    finalized,
    refused,
    reviewed,
)

FIRST, SECOND = weeks(2, "2026-02-16")
MALLORY = [UserUnits("mallory", 1)]
STATE = """
    INSERT INTO payout_statements
        (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, supersedes_statement_id)
    SELECT :node, :epoch, :hash, :pool,
        jsonb_build_array(jsonb_build_object(
            'userId', 'mallory', 'totalUnits', '1', 'share', '1.000000', 'amountCredits', CAST(:pool AS text)
        )), CAST(:supersedes AS uuid)
    RETURNING id
"""
SIGN = """
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature)
    VALUES (:node, :under, :wallet, :signature) RETURNING id
"""


def forge(engine: Engine, books: Books, supersedes: UUID | None) -> UUID:
    """A statement that gives all to mallory, as whoever may write to the ledger can add it."""
    numbers = {"epoch": books.epoch.id, "hash": allocation_set_hash(MALLORY), "pool": POOL}
    with engine.begin() as connection:
        made = connection.scalar(text(STATE), {"node": NODE_ID, "supersedes": supersedes, **numbers})
    assert isinstance(made, UUID)
    return made


def sign(engine: Engine, statement_id: UUID, wallet: str, signature: str) -> UUID:
    parameters = {"node": NODE_ID, "under": statement_id, "wallet": wallet, "signature": signature}
    with engine.begin() as connection:
        made = connection.scalar(text(SIGN), parameters)
    assert isinstance(made, UUID)
    return made


def chain(books: Books) -> StatementChain:
    return statement_chain(
        NODE_ID, books.scope, books.epoch, books.ledger.statements.history(books.epoch), audited=True
    )


def differences(books: Books) -> list[str]:
    return [str(difference) for difference in verify(facts_of(books.ledger.statements.rows(books.epoch)))]


def twin(signature: str) -> str:
    """The other signature that everybody can make of one: with s in the upper half."""
    r, s, v = signature[2:66], int(signature[66:130], 16), int(signature[130:], 16)
    return f"0x{r}{ORDER - s:064x}{55 - v:02x}"


# Forged statements.


@pytest.mark.parametrize("signed", ["by nobody", "by a stranger", "with an approver's signature of something else"])
def test_a_forged_statement_is_not_in_force_and_is_taken_out_on_record(
    ledger: PostgresLedger, ledger_engine: Engine, signed: str
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    forged = forge(ledger_engine, books, original.id)
    [message] = [
        message_of(NODE_ID, books.epoch, row)
        for row in ledger.statements.history(books.epoch).statements
        if row.id == forged
    ]
    if signed == "by a stranger":
        given = {"node": NODE_ID, "under": forged, "wallet": STRANGER.address, "signature": STRANGER.sign(message)}
        assert f"{STRANGER.address} is not among the approvers that the epoch" in refused(ledger_engine, SIGN, **given)
        sign(ledger_engine, forged, APPROVER.address, STRANGER.sign(message))
    elif signed != "by nobody":
        sign(ledger_engine, forged, APPROVER.address, APPROVER.sign("something else"))

    assert chain(books).in_force == original
    [account] = [
        account
        for account in Examination(facts_of(ledger.statements.rows(books.epoch))).accounts()
        if account.user_id == ADA_USER
    ]
    assert account.amount_credits == 8000
    assert any(f"statements {forged}: nobody signed it who might" in difference for difference in differences(books))
    # The original may still be signed; nothing is built on what follows it.
    assert books.finalize(SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))) == original
    for step in (books.draft, lambda: books.correct(ADA_USER, 1, "counted again")):
        with pytest.raises(EpochNotReady, match=f"statement {forged} is not in force: .* db set-aside {forged}"):
            step()

    set_aside(ledger, books.spec, forged, "nobody of ours wrote it")
    assert not chain(books).faults
    assert differences(books) == []
    amendment = books.amend(ADA_USER, 1000)
    assert amendment.supersedes_statement_id == original.id
    assert chain(books).in_force == amendment
    assert differences(books) == []
    [aside] = ledger.statements.history(books.epoch).set_asides
    assert (aside.statement_id, aside.actor, aside.reason) == (forged, "postgres", "nobody of ours wrote it")
    for change in ("UPDATE {} SET reason = 'none'", "DELETE FROM {}", "TRUNCATE {}"):
        assert "the ledger is append-only" in refused(ledger_engine, change.format("set_asides"))


def test_a_forged_original_does_not_finalize_and_gives_way_to_the_real_one(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    forged = forge(ledger_engine, books, None)
    assert chain(books).in_force is None
    with pytest.raises(EpochNotReady, match=f"statement {forged} is not in force: no pinned approver signed it"):
        books.finalize(signature)
    set_aside(ledger, books.spec, forged, "nobody of ours wrote it")
    assert books.finalize(signature) == chain(books).in_force
    assert differences(books) == []


def test_what_follows_a_forged_statement_falls_with_it(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    forged = forge(ledger_engine, books, original.id)
    numbers = {"node": NODE_ID, "epoch": books.epoch.id, "hash": "another", "pool": POOL, "supersedes": forged}
    with ledger_engine.begin() as connection:
        behind = connection.scalar(text(STATE), numbers)
    assert [fault.row_id for fault in chain(books).broken] == [forged, behind]
    for row_id in (forged, behind):
        set_aside(ledger, books.spec, row_id, "forged")
    assert books.amend(ADA_USER, 1).supersedes_statement_id == original.id


def test_what_verifies_is_not_set_aside_and_where_the_owner_does_it_all_the_same_it_is_named(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    [signature] = ledger.statements.history(books.epoch).signatures
    for row_id in (original.id, signature.id):
        with pytest.raises(EpochNotReady, match="what verifies stays"):
            set_aside(ledger, books.spec, row_id, "not to our liking")
    with pytest.raises(EpochNotReady, match="is no statement"):
        set_aside(ledger, books.spec, uuid4(), "of nothing")
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO set_asides (node_id, epoch_id, statement_id, reason)
                SELECT node_id, epoch_id, id, 'hush' FROM payout_statements
            """)
        )
    [fault] = chain(books).faults
    assert str(fault) == f"statement {original.id} verifies, and postgres has set it aside all the same: hush"


@pytest.mark.parametrize("payouts", ["5", "{}", "[5]", """[{"userId": "ada"}]""", """[{"userId": 5}]"""])
def test_a_statement_whose_lines_nobody_can_read_is_refused(
    ledger: PostgresLedger, ledger_engine: Engine, payouts: str
) -> None:
    books = reviewed(ledger)
    insert = (
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json) "
        "VALUES (:node, :epoch, 'hash', 1, CAST(:payouts AS jsonb))"
    )
    given = {"node": NODE_ID, "epoch": books.epoch.id, "payouts": payouts}
    assert "INSERT into payout_statements refused: a line of payouts_json is not of" in refused(
        ledger_engine, insert, **given
    )


@pytest.mark.parametrize("instant", ["infinity", "-infinity", "20000-01-01Z", "3000-01-01Z"])
def test_no_row_of_the_chain_has_an_instant_that_nobody_can_read(
    ledger: PostgresLedger, ledger_engine: Engine, instant: str
) -> None:
    books = finalized(ledger)
    for insert in (
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, "
        "supersedes_statement_id, created_at) SELECT node_id, epoch_id, 'x', 1, '[]', id, CAST(:at AS timestamptz)",
        "INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature, signed_at) "
        f"SELECT node_id, id, '{APPROVER.address}', '0x', CAST(:at AS timestamptz)",
        "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason, "
        "created_at) SELECT node_id, epoch_id, id, 'lin', 1, 'x', CAST(:at AS timestamptz)",
    ):
        refusal = refused(ledger_engine, f"{insert} FROM payout_statements", at=instant)
        assert "is no instant between 2000 and tomorrow" in refusal
    assert not chain(books).faults


def test_approvers_that_are_not_those_whose_hash_was_pinned_put_nothing_in_force(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    with ledger_engine.begin() as connection:
        connection.execute(text("ALTER TABLE epochs DISABLE TRIGGER USER"))
        pinned = '{"approvers": ["' + STRANGER.address + '"]}'
        connection.execute(text("UPDATE epochs SET pinned_spec = pinned_spec || CAST(:p AS jsonb)"), {"p": pinned})
        connection.execute(text("ALTER TABLE epochs ENABLE TRIGGER USER"))
    [original] = ledger.statements.of(books.epoch)
    sign(ledger_engine, original.id, STRANGER.address, STRANGER.sign(message_of(NODE_ID, books.epoch, original)))
    assert chain(books).in_force is None


# Signatures used again.


def test_an_amendment_is_not_undone_with_the_signature_of_the_original(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    original = books.finalize(signature)
    amendment = books.amend(ADA_USER, 1000)
    books.correct(ADA_USER, 2000, "as it was at first")
    for step in (books.draft, lambda: books.finalize(signature)):
        with pytest.raises(EpochNotReady, match=f"the numbers are those of statement {original.id}"):
            step()
    assert chain(books).in_force == amendment
    # Whoever writes past the program is refused by the database, the statement as well as the signature.
    again = STATE.replace(":hash", "allocation_set_hash").replace(
        "RETURNING id", "FROM payout_statements WHERE id = :id"
    )
    given = {"node": NODE_ID, "epoch": books.epoch.id, "pool": POOL, "supersedes": amendment.id}
    assert f"statement {original.id} of epoch {books.epoch.id} has the same numbers" in refused(
        ledger_engine, again, **given, id=original.id
    )
    books.correct(ADA_USER, 2001, "by a thousandth")
    assert books.finalize(books.signature()).supersedes_statement_id == amendment.id


@pytest.mark.parametrize("spelled", [str, twin, lambda signature: signature[2:].upper()], ids=["same", "twin", "bare"])
def test_a_signature_belongs_to_one_statement(
    ledger: PostgresLedger, ledger_engine: Engine, spelled: Callable[[str], str]
) -> None:
    books, second_books = finalized(ledger, of=FIRST), finalized(ledger, of=SECOND)
    amendment = books.amend(ADA_USER, 1000)
    row, _ = ledger.statements.history(books.epoch).signatures
    bare = f"0x{spelled(row.signature).removeprefix('0x')}"
    if bare == row.signature:
        again = sign(ledger_engine, amendment.id, row.signer_wallet, bare)
        assert [fault.row_id for fault in chain(books).garbage] == [again]
    else:
        given = {"node": NODE_ID, "under": amendment.id, "wallet": row.signer_wallet, "signature": bare}
        assert "statement_signatures_signature_check" in refused(ledger_engine, SIGN, **given)
    assert chain(books).in_force == amendment
    # In another epoch it recovers to nobody who may sign, and counts for nothing.
    [of_other] = ledger.statements.of(second_books.epoch)
    copied = sign(ledger_engine, of_other.id, row.signer_wallet, row.signature)
    assert [fault.row_id for fault in chain(second_books).garbage] == [copied]
    assert chain(second_books).in_force == of_other


def test_where_two_statements_have_the_same_numbers_a_signature_is_one_of_them_alone(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [row] = ledger.statements.history(books.epoch).signatures
    with ledger_engine.begin() as connection:  # as an earlier release let it in
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        twin_id = connection.scalar(
            text(
                "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, "
                "payouts_json, supersedes_statement_id) SELECT node_id, epoch_id, allocation_set_hash, "
                "pool_total_credits, payouts_json, id FROM payout_statements RETURNING id"
            )
        )
    given = {"node": NODE_ID, "under": twin_id, "wallet": row.signer_wallet, "signature": row.signature}
    assert f"it is the signature of statement {row.statement_id}" in refused(ledger_engine, SIGN, **given)


def test_a_signature_and_its_twin_are_one(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    made = finalize(ledger, books.spec, books.epoch, twin(signature))
    assert made.outcome is Outcome.STATED
    assert [row.signature for row in ledger.statements.history(books.epoch).signatures] == [signature]
    assert finalize(ledger, books.spec, books.epoch, signature).outcome is Outcome.UNCHANGED
    assert canonical_signature(twin(signature)) == canonical_signature(signature[2:].upper()) == signature
    assert canonical_signature("no signature") == "no signature"


def upper(signature: str) -> str:
    return f"0x{signature[2:].upper()}"


def counted_from_zero(signature: str) -> str:
    return f"{signature[:-2]}{int(signature[-2:], 16) - 27:02x}"


def same(text: str) -> str:
    return text


SPELLINGS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "a wallet in lower case": (str.lower, same),
    "upper case": (same, upper),
    "v of zero or one": (same, counted_from_zero),
    "the twin": (same, twin),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_signature_has_one_spelling_and_one_of_before_counts_once(
    ledger: PostgresLedger, ledger_engine: Engine, name: str
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    [row] = ledger.statements.history(books.epoch).signatures
    of_wallet, of_signature = SPELLINGS[name]
    copy = {
        "node": NODE_ID,
        "under": original.id,
        "wallet": of_wallet(row.signer_wallet),
        "signature": of_signature(row.signature),
    }
    if of_signature is same:
        with ledger_engine.begin() as connection:
            assert connection.scalar(text(SIGN), copy) is None
    else:
        assert "statement_signatures_signature_check" in refused(ledger_engine, SIGN, **copy)
    assert ledger.statements.history(books.epoch).signatures == [row]
    with ledger_engine.begin() as connection:  # as an earlier release let it in
        connection.execute(
            text("ALTER TABLE statement_signatures DROP CONSTRAINT statement_signatures_signature_check")
        )
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(SIGN), copy)
    assert chain(books).signers == {original.id: [row.signer_wallet]}
    assert not chain(books).faults
    assert differences(books) == []
    [warning] = Examination(facts_of(ledger.statements.rows(books.epoch))).warnings()
    assert "it is there 2 times, and counts once" in warning
    assert books.amend(ADA_USER, 1).supersedes_statement_id == original.id
    assert differences(books) == []


def test_an_approver_signs_though_somebody_wrote_their_wallet_otherwise_before(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    real = SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))
    sign(ledger_engine, original.id, SECOND_APPROVER.address.lower(), real)
    books.finalize(real)
    assert len(ledger.statements.history(books.epoch).signatures) == 2
    assert differences(books) == []


# Garbage.


def test_garbage_under_an_approvers_wallet_takes_no_place(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    garbage = sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{'11' * 64}1b")
    malformed = sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{'ff' * 32}{'11' * 32}1c")
    real = SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))
    made = finalize(ledger, books.spec, books.epoch, real)
    assert (made.statement, made.outcome) == (original, Outcome.SIGNED)
    assert sorted(chain(books).signers[original.id]) == sorted(APPROVERS)
    assert finalize(ledger, books.spec, books.epoch, real).outcome is Outcome.UNCHANGED
    assert {fault.row_id for fault in chain(books).garbage} == {garbage, malformed}
    assert len(differences(books)) == 2
    # A statement is amended all the same, and once the owner has looked at it all is green.
    assert books.amend(ADA_USER, 1).supersedes_statement_id == original.id
    for row_id in (garbage, malformed):
        set_aside(ledger, books.spec, row_id, "no signature")
    assert differences(books) == []


def test_a_signature_that_somebody_hid_under_another_statement_of_the_epoch_is_good_all_the_same(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    books.correct(ADA_USER, 1, "counted again")
    signature = books.signature()
    hidden = sign(ledger_engine, original.id, APPROVER.address, signature)
    assert books.finalize(signature) == chain(books).in_force
    assert [fault.row_id for fault in chain(books).garbage] == [hidden]
    assert len(differences(books)) == 1
    set_aside(ledger, books.spec, hidden, "it is of another statement")
    assert differences(books) == []


@pytest.mark.parametrize("seen", [str, lambda signature: f"{signature[:66]}{'11' * 32}1b"], ids=["whole", "its half"])
def test_a_signature_that_somebody_parked_in_another_epoch_is_in_nobodys_way(
    ledger: PostgresLedger, ledger_engine: Engine, seen: Callable[[str], str]
) -> None:
    books, second_books = reviewed(ledger, of=FIRST), finalized(ledger, of=SECOND)
    signature = books.signature()
    # Of a scope that nobody has: whoever may write makes epochs.
    with ledger_engine.begin() as connection:
        stray = connection.scalar(
            text("SELECT ledger_make_epochs(:node, :scope, ARRAY[:start], ARRAY[:end], '{}')"),
            {"node": NODE_ID, "scope": uuid4(), "start": FIRST.start, "end": FIRST.end},
        )
        numbers = {"node": NODE_ID, "epoch": stray, "hash": "x", "pool": 1, "supersedes": None}
        under = connection.scalar(text(STATE), numbers)
    [of_other] = ledger.statements.of(second_books.epoch)
    parked = [sign(ledger_engine, row_id, APPROVER.address, seen(signature)) for row_id in (under, of_other.id)]
    assert books.finalize(signature) == chain(books).in_force
    # And the owner takes out rows of any scope.
    for row_id in (*parked, under):
        set_aside(ledger, books.spec, row_id, "of no scope of ours")


def test_a_draft_that_was_signed_and_never_stated_is_stated_by_no_later_correction(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    never_stated = books.draft()
    signature = APPROVER.sign(never_stated.message)
    ledger.allocations.decide(books.epoch, ADA_USER, 1000, "counted again")
    # As long as nothing is stated, a person may change their mind.
    assert books.draft() != never_stated
    ledger.allocations.decide(books.epoch, ADA_USER, None, None)
    assert books.draft() == never_stated
    ledger.allocations.decide(books.epoch, ADA_USER, 1000, "counted again")
    original = books.finalize(books.signature())
    books.correct(ADA_USER, 2000, "as it was at first")
    for step in (books.draft, lambda: books.finalize(signature)):
        with pytest.raises(EpochNotReady, match="the numbers are those of a draft that was handed out before"):
            step()
    # Whoever writes past the program is refused by the database.
    numbers = {"node": NODE_ID, "epoch": books.epoch.id, "pool": POOL, "supersedes": original.id}
    assert "were handed out to be signed for another place of its chain" in refused(
        ledger_engine, STATE, **numbers, hash=never_stated.allocation_set_hash
    )
    books.correct(ADA_USER, 2001, "by a thousandth")
    amendment = books.finalize(books.signature())
    assert chain(books).in_force == amendment
    # What was handed out for this place is of this place, whatever was drafted in between.
    books.correct(ADA_USER, 7, "counted again")
    draft = books.draft()
    books.correct(ADA_USER, 8, "counted again")
    assert books.draft() != draft
    books.correct(ADA_USER, 7, "no, as before")
    assert books.finalize(APPROVER.sign(draft.message)).supersedes_statement_id == amendment.id


def test_nobody_says_of_numbers_that_they_were_handed_out_for_a_place_that_is_taken(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    ask = (
        "INSERT INTO signing_requests (node_id, epoch_id, allocation_set_hash, pool_total_credits, "
        "supersedes_statement_id) VALUES (:node, :epoch, :hash, :pool, :after)"
    )
    books.correct(ADA_USER, 1, "counted again")
    hash_of_amendment = books.draft().allocation_set_hash
    given = {"node": NODE_ID, "epoch": books.epoch.id, "hash": hash_of_amendment, "pool": POOL}
    refusal = refused(ledger_engine, ask, **given, after=None)
    assert f"what is to be signed of epoch {books.epoch.id} supersedes {original.id}, not nothing" in refusal
    # Behind a forged statement it is said in vain, once that is set aside.
    forged = forge(ledger_engine, books, original.id)
    with ledger_engine.begin() as connection:
        connection.execute(text(ask), {**given, "after": forged})
    set_aside(ledger, books.spec, forged, "forged")
    assert books.finalize(books.signature()).supersedes_statement_id == original.id


# What is told, and what it costs.


def test_each_approver_is_told_what_their_signature_did(ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    message = books.draft().message

    def outcome(signature: str) -> Outcome:
        return finalize(ledger, books.spec, books.epoch, signature).outcome

    assert [outcome(wallet.sign(message)) for wallet in (APPROVER, SECOND_APPROVER, APPROVER)] == [
        Outcome.STATED,
        Outcome.SIGNED,
        Outcome.UNCHANGED,
    ]
    books.correct(GRACE_USER, 1, "counted again")
    assert outcome(books.signature()) is Outcome.AMENDED


def test_what_was_signed_instead_is_looked_up_once_the_epoch_is_free(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    stale = books.signature()
    ledger.allocations.decide(books.epoch, GRACE_USER, 501, "one more")
    books, epoch = replace(books), books.epoch
    seen: list[str] = []

    def note(*given: object) -> None:
        words = " ".join(str(given[2]).split())
        seen.extend(word for word in ("FOR UPDATE", "signing_requests AS request JOIN epochs") if word in words)

    event.listen(ledger_engine, "before_cursor_execute", note)
    event.listen(ledger_engine, "rollback", lambda _: seen.append("rollback"))
    for signature, error in ((stale, StaleSignature), (STRANGER.sign("Hello"), SignerNotApproved)):
        seen.clear()
        with pytest.raises(error):
            finalize(ledger, books.spec, epoch, signature)
        assert seen[:3] == ["FOR UPDATE", "rollback", "signing_requests AS request JOIN epochs"]


def test_payouts_of_one_line_follow() -> None:
    """What `forge` writes is what the arithmetic gives, so that only the signature is missing."""
    assert [payout.to_json() for payout in compute_payouts(MALLORY, POOL)] == [
        {"userId": "mallory", "totalUnits": "1", "share": "1.000000", "amountCredits": str(POOL)}
    ]


def test_garbage_has_few_places_and_gives_them_back(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    garbage = [sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{n:0128x}1b") for n in range(1, 9)]
    for signature in (f"0x{9:0128x}1b", SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))):
        given = {"node": NODE_ID, "under": original.id, "wallet": SECOND_APPROVER.address.lower()}
        refusal = refused(ledger_engine, SIGN, **given, signature=signature)
        assert "INSERT into statement_signatures refused: 8 signatures stand there already under statement" in refusal
    with (
        ledger_engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
        pytest.raises(DBAPIError, match="under REPEATABLE READ it would not see what others have just committed"),
    ):
        connection.execute(text(SIGN), {**given, "signature": f"0x{9:0128x}1b"})
    set_aside(ledger, books.spec, garbage[0], "no signature")
    real = SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))
    assert finalize(ledger, books.spec, books.epoch, real).outcome is Outcome.SIGNED


@pytest.mark.parametrize(
    ("wallet", "signature"),
    [(APPROVER.address, "0x"), (APPROVER.address, "0x" + "zz" * 65), (APPROVER.address, "0x" + "1" * 3_000_000)],
    ids=["nothing", "no hex", "three megabytes"],
)
def test_a_signature_has_the_shape_of_one(
    ledger: PostgresLedger, ledger_engine: Engine, wallet: str, signature: str
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    given = {"node": NODE_ID, "under": original.id, "wallet": wallet, "signature": signature}
    assert "violates check constraint" in refused(ledger_engine, SIGN, **given)


def test_forged_statements_have_few_places_and_give_them_back(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    behind = original.id
    numbers = {"node": NODE_ID, "epoch": books.epoch.id, "pool": POOL}
    for number in range(30):
        with ledger_engine.begin() as connection:
            behind = connection.scalar(text(STATE), {**numbers, "hash": str(number), "supersedes": behind})
    refusal = refused(ledger_engine, STATE, **numbers, hash="one more", supersedes=behind)
    assert f"31 statements of epoch {books.epoch.id} stand there already, of which 30 are without a sig" in refusal
    first, *_ = [fault.row_id for fault in chain(books).broken]
    set_aside(ledger, books.spec, first, "forged")
    assert forge(ledger_engine, books, original.id)


def test_an_epoch_is_amended_as_often_as_it_must_be(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger_pipeline.pipeline.chain.recover_signer", cache(recover_signer))  # for it takes time
    books = finalized(ledger)
    amended = [books.amend(ADA_USER, units) for units in range(1, 32)]
    assert chain(books).in_force == amended[-1]
    assert len(ledger.statements.of(books.epoch)) == 32


def test_statements_that_only_seem_signed_have_their_places_too(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    forged = [original.id]
    numbers = {"node": NODE_ID, "epoch": books.epoch.id, "pool": POOL}
    with ledger_engine.begin() as connection:
        for number in range(1, 300):
            made = connection.scalar(text(STATE), {**numbers, "hash": str(number), "supersedes": forged[-1]})
            of_garbage = {"wallet": APPROVER.address, "signature": f"0x{number:0128x}1b"}
            connection.execute(text(SIGN), {"node": NODE_ID, "under": made, **of_garbage})
            forged.append(made)
    refusal = refused(ledger_engine, STATE, **numbers, hash="one more", supersedes=forged[-1])
    assert f"300 statements of epoch {books.epoch.id} stand there already, of which 0 are without a sig" in refusal
    assert {fault.row_id for fault in chain(books).broken} == {*forged[1:]}
    set_aside(ledger, books.spec, forged[1], "forged")
    assert forge(ledger_engine, books, original.id)


def test_garbage_beside_an_approvers_signature_has_few_places_in_an_epoch(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    behind, taken = original.id, 0
    for number in range(10):
        with ledger_engine.begin() as connection:
            given = {"node": NODE_ID, "epoch": books.epoch.id, "hash": str(number), "pool": POOL, "supersedes": behind}
            behind = connection.scalar(text(STATE), given)
        for garbage in range(8 * number, 8 * number + 8):
            try:
                sign(ledger_engine, behind, APPROVER.address, f"0x{garbage + 1:0128x}1b")
            except DBAPIError as error:
                assert "60 signatures of the epoch stand there already beside the first of their" in str(error)  # noqa: PT017
                continue
            taken += 1
    assert taken == 10 + 60
    # Whoever signs first under their statement is in time, and another once the owner has looked.
    garbage_id = sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{'11' * 64}1b")
    real = SECOND_APPROVER.sign(message_of(NODE_ID, books.epoch, original))
    with pytest.raises(StoreError, match="db set-aside"):
        books.finalize(real)
    set_aside(ledger, books.spec, garbage_id, "no signature")
    assert books.finalize(real) == original


def test_a_statement_that_somebody_dated_ahead_keeps_no_later_one_out(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    ahead = STATE.replace("supersedes_statement_id)", "supersedes_statement_id, created_at)").replace(
        "RETURNING", ", now() + interval '23 hours 59 minutes' RETURNING"
    )
    with ledger_engine.begin() as connection:
        given = {"node": NODE_ID, "epoch": books.epoch.id, "hash": "x", "pool": POOL, "supersedes": original.id}
        forged = connection.scalar(text(ahead), given)
    set_aside(ledger, books.spec, forged, "forged")
    amended = [books.amend(ADA_USER, units) for units in (1000, 1001)]
    assert ledger.statements.of(books.epoch) == [original, *amended]
    assert amended[0].created_at < amended[1].created_at
    assert differences(books) == []


def test_what_was_set_aside_and_what_is_behind_a_forged_statement_costs_a_finalization_nothing(
    ledger: PostgresLedger, ledger_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    forged = forge(ledger_engine, books, original.id)
    for number in range(1, 9):
        sign(ledger_engine, forged, APPROVER.address, f"0x{number:0128x}1b")
    set_aside(ledger, books.spec, forged, "forged")
    with ledger_engine.begin() as connection:
        behind = original.id
        for name in ("unsigned", "behind"):
            given = {"node": NODE_ID, "epoch": books.epoch.id, "hash": name, "pool": POOL, "supersedes": behind}
            behind = connection.scalar(text(STATE), given)
    for number in range(11, 19):
        sign(ledger_engine, behind, APPROVER.address, f"0x{number:0128x}1b")
    recovered: list[str] = []

    def counted(message: str, signature: str) -> str:
        recovered.append(signature)
        return recover_signer(message, signature)

    monkeypatch.setattr("ledger_pipeline.pipeline.chain.recover_signer", counted)
    history = ledger.statements.history(books.epoch)
    assert statement_chain(NODE_ID, books.scope, books.epoch, history).in_force == original
    assert len(recovered) == 1


def test_an_archive_has_no_row_that_is_no_signature(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    for number in range(1, 9):
        sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{number:0128x}1b")
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert len(facts.signatures) == 9
    [kept] = Examination(facts).statement_signatures()
    assert kept.signer_wallet == APPROVER.address
    assert verify(facts.model_copy(update={"signatures": [kept]})) == []


def test_the_few_places_are_not_raced_for(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    barrier = Barrier(4)

    def fill(first: int) -> int:
        barrier.wait()
        taken = 0
        for number in range(first, first + 5):
            try:
                sign(ledger_engine, original.id, SECOND_APPROVER.address, f"0x{number:0128x}1b")
            except DBAPIError:
                continue
            taken += 1
        return taken

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(fill, range(100, 500, 100))) == 8
    assert len(ledger.statements.history(books.epoch).signatures) == 9
