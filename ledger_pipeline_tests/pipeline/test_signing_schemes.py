"""An epoch is signed by the schemes that it closed with, in whichever place of its chain, and by no others."""

from collections.abc import Mapping

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.errors import EpochNotReady, SignerNotApproved, StaleSignature, StoreError, WrongSignature
from ledger_pipeline.core.pins import pin_differences
from ledger_pipeline.core.signing import (
    Scheme,
    Signable,
    StatementTerms,
    TypedData,
    attribution_message,
    signing_forms,
)
from ledger_pipeline.core.statements import statement_message
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.statement_records import Outcome, Statement
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    SECOND_APPROVER,
    STRANGER,
    Books,
    refused,
    reviewed,
)

CHAIN_ID = 84532
OF_A_CHAIN = (Scheme.TYPED_DATA, Scheme.ATTRIBUTION_TEXT)
SIGN = """
    INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature, scheme)
    VALUES (:node, :under, :wallet, :signature, :scheme)
"""


def terms(books: Books, statement: Statement | None = None) -> StatementTerms:
    """What is signed of a statement, or now."""
    numbers = books.draft() if statement is None else statement
    return StatementTerms(NODE_ID, SCOPE_ID, books.epoch.id, numbers.allocation_set_hash, numbers.pool_total_credits)


def schemes(books: Books) -> list[str]:
    return [row.scheme for row in books.ledger.statements.history(books.epoch).signatures]


def verified(books: Books) -> bool:
    return verify(facts_of(books.ledger.statements.rows(books.epoch))) == []


def test_an_epoch_that_closed_with_a_chain_asks_for_its_typed_data(ledger: PostgresLedger) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    draft = books.draft()
    assert draft.forms == {
        Scheme.TYPED_DATA: TypedData(terms(books), CHAIN_ID),
        Scheme.ATTRIBUTION_TEXT: attribution_message(terms(books)),
    }
    assert draft.message == attribution_message(terms(books))


def test_each_scheme_of_the_epoch_finalizes_it_is_named_and_verifies(ledger: PostgresLedger) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    forms = books.draft().forms
    typed = APPROVER.sign(forms[Scheme.TYPED_DATA])
    made = finalize(ledger, books.spec, books.epoch, typed)
    assert (made.outcome, made.scheme) == (Outcome.STATED, Scheme.TYPED_DATA)
    second = finalize(ledger, books.spec, books.epoch, SECOND_APPROVER.sign(forms[Scheme.ATTRIBUTION_TEXT]))
    assert (second.outcome, second.scheme) == (Outcome.SIGNED, Scheme.ATTRIBUTION_TEXT)
    # Who has signed has signed, in whichever form they sign again.
    for scheme, message in forms.items():
        again = finalize(ledger, books.spec, books.epoch, APPROVER.sign(message))
        assert (again.outcome, again.scheme) == (Outcome.UNCHANGED, scheme)
    assert schemes(books) == list(OF_A_CHAIN)
    chain = statement_chain(NODE_ID, books.scope, books.epoch, ledger.statements.history(books.epoch), audited=True)
    assert chain.faults == []
    assert made.statement is not None
    assert chain.signed_by(made.statement) == (
        f"{APPROVER.address} (eip712-attribution-v1), {SECOND_APPROVER.address} (eip191-attribution-v1)"
    )
    assert verified(books)


@pytest.mark.parametrize("chain_id", [None, CHAIN_ID])
def test_a_signature_that_fits_none_names_the_approvers_expected(ledger: PostgresLedger, chain_id: int | None) -> None:
    books = reviewed(ledger, chain_id=chain_id)
    for message in books.draft().forms.values():
        with pytest.raises(SignerNotApproved) as raised:
            books.finalize(STRANGER.sign(message))
        assert APPROVER.address in str(raised.value)
        assert SECOND_APPROVER.address in str(raised.value)
        assert ("fits neither eip712-attribution-v1 nor eip191-attribution-v1" in str(raised.value)) == bool(chain_id)


def test_a_scheme_that_the_epoch_did_not_close_with_is_refused_by_its_name(ledger: PostgresLedger) -> None:
    with_chain = reviewed(ledger, chain_id=CHAIN_ID)
    before: Mapping[Scheme, Signable] = signing_forms(terms(with_chain), None)
    with pytest.raises(
        WrongSignature, match=f"{APPROVER.address}'s by the scheme eip191-payout-v1, and epoch .* is sig"
    ):
        with_chain.finalize(APPROVER.sign(before[Scheme.PAYOUT_TEXT]))
    with pytest.raises(SignerNotApproved, match="recovers to"):
        with_chain.finalize(APPROVER.sign(TypedData(terms(with_chain), CHAIN_ID + 1)))
    assert ledger.statements.of(with_chain.epoch) == []


def test_an_epoch_that_closed_without_a_chain_is_signed_as_before_whatever_the_repo_spec_says_now(
    ledger: PostgresLedger,
) -> None:
    books = reviewed(ledger).with_scope(chain_id=CHAIN_ID)
    draft = books.draft()
    assert draft.forms == {Scheme.PAYOUT_TEXT: statement_message(**vars(terms(books)))}
    with pytest.raises(WrongSignature, match=r"by the scheme eip191-attribution-v1, and epoch .* by eip191-payout-v1"):
        books.finalize(APPROVER.sign(attribution_message(terms(books))))
    with pytest.raises(SignerNotApproved):
        books.finalize(APPROVER.sign(TypedData(terms(books), CHAIN_ID)))
    books.finalize(APPROVER.sign(draft.message))
    assert schemes(books) == [Scheme.PAYOUT_TEXT]
    assert verified(books)


def test_the_chain_is_pinned_when_an_epoch_closes(ledger: PostgresLedger) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    message = books.draft().forms[Scheme.TYPED_DATA]
    for chain_id in (None, 1):
        changed = books.with_scope(chain_id=chain_id)
        assert changed.draft().forms[Scheme.TYPED_DATA] == message
        assert books.epoch.pins is not None
        pinned = books.epoch.pins.pinned_spec
        [difference] = pin_differences(changed.scope, "weight-sum-v0", books.scope.weights_milli, pinned)
        assert (difference.name, difference.pays) == ("chain_id", False)
    books.with_scope(chain_id=None).finalize(APPROVER.sign(message))
    assert verified(books)


# A place in the chain.


@pytest.mark.parametrize("scheme", OF_A_CHAIN)
def test_no_old_signature_puts_an_amendment_back_to_earlier_numbers_in_force(
    ledger: PostgresLedger, scheme: Scheme
) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    first = APPROVER.sign(books.draft().forms[scheme])
    original = books.finalize(first)
    books.correct(ADA_USER, 1000, "counted again")
    other_form = next(form for form in OF_A_CHAIN if form is not scheme)
    amendment = books.finalize(APPROVER.sign(books.draft().forms[other_form]))
    with pytest.raises(StaleSignature):
        books.finalize(first)
    books.correct(ADA_USER, 2000, "it was right before")
    with pytest.raises(EpochNotReady, match=f"the numbers are those of statement {original.id}"):
        books.draft()
    forms = signing_forms(terms(books, original), CHAIN_ID)
    for signature in (first, *(SECOND_APPROVER.sign(message) for message in forms.values())):
        with pytest.raises(EpochNotReady, match=f"the numbers are those of statement {original.id}"):
            books.finalize(signature)
    # By a thousandth other numbers are another statement.
    books.correct(ADA_USER, 2001, "it was right before")
    with pytest.raises(StaleSignature):
        books.finalize(first)
    last = books.finalize(books.signature())
    assert ledger.statements.of(books.epoch) == [original, amendment, last]
    assert verified(books)


@pytest.mark.parametrize("scheme", OF_A_CHAIN)
def test_a_draft_that_was_signed_in_any_scheme_and_never_stated_is_stated_by_no_later_correction(
    ledger: PostgresLedger, scheme: Scheme
) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    books.finalize(books.signature())
    books.correct(ADA_USER, 1000, "counted again")
    never_stated = APPROVER.sign(books.draft().forms[scheme])
    books.correct(ADA_USER, 900, "counted once more")
    books.finalize(books.signature())
    books.correct(ADA_USER, 1000, "counted again")
    with pytest.raises(EpochNotReady, match="handed out before"):
        books.finalize(never_stated)


# Who may write to the ledger.


def test_whoever_may_write_repeats_no_numbers_and_signs_by_no_scheme_that_the_epoch_did_not_close_with(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    signature = APPROVER.sign(books.draft().forms[Scheme.TYPED_DATA])
    original = books.finalize(signature)
    amendment = books.amend(ADA_USER, 1000)
    given = {"node": NODE_ID, "under": original.id, "wallet": APPROVER.address, "signature": signature}
    assert "has the same numbers" in refused(
        ledger_engine,
        "INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, "
        "supersedes_statement_id) SELECT node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json, "
        ":after FROM payout_statements WHERE id = :original",
        after=amendment.id,
        original=original.id,
    )
    assert "closed with a chain, and is not signed by eip191-payout-v1" in refused(
        ledger_engine, SIGN, **given, scheme="eip191-payout-v1"
    )
    assert "violates check constraint" in refused(ledger_engine, SIGN, **given, scheme="eip712-attribution-v2")
    # An old signature under the statement that superseded it is of nothing, whatever it says that it is.
    with ledger_engine.begin() as connection:
        connection.execute(text(SIGN), {**given, "under": amendment.id, "scheme": "eip712-attribution-v1"})
    chain = statement_chain(NODE_ID, books.scope, books.epoch, ledger.statements.history(books.epoch))
    assert chain.in_force == amendment
    assert len(chain.garbage) == 1
    assert not verified(books)


def test_an_epoch_without_a_chain_takes_no_signature_of_typed_data(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    original = books.finalize(books.signature())
    given = {"node": NODE_ID, "under": original.id, "wallet": APPROVER.address, "signature": f"0x{9:0128x}1b"}
    for scheme in OF_A_CHAIN:
        assert f"closed with no chain, and is not signed by {scheme}" in refused(
            ledger_engine, SIGN, **given, scheme=scheme
        )


def test_a_signature_that_somebody_wrote_under_another_scheme_is_in_nobodys_way(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = reviewed(ledger, chain_id=CHAIN_ID)
    forms = books.draft().forms
    original = books.finalize(APPROVER.sign(forms[Scheme.TYPED_DATA]))
    real = SECOND_APPROVER.sign(forms[Scheme.TYPED_DATA])
    with ledger_engine.begin() as connection:
        given = {"node": NODE_ID, "under": original.id, "wallet": SECOND_APPROVER.address, "signature": real}
        connection.execute(text(SIGN), {**given, "scheme": "eip191-attribution-v1"})
    assert finalize(ledger, books.spec, books.epoch, real).outcome is Outcome.SIGNED
    chain = statement_chain(NODE_ID, books.scope, books.epoch, ledger.statements.history(books.epoch))
    assert sorted(chain.signers[original.id]) == sorted([APPROVER.address, SECOND_APPROVER.address])
    assert len(chain.garbage) == 1


def test_epochs_that_closed_with_a_chain_are_not_forgotten_by_going_down(
    ledger: PostgresLedger, ledger_url: str
) -> None:
    reviewed(ledger, chain_id=CHAIN_ID)
    with pytest.raises(StoreError, match="below 0077 refused: 1 epochs closed with a chain"):
        migrations.downgrade(ledger_url, "0076")
