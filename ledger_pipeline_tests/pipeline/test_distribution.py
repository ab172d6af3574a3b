"""From statements to tokens: everybody is paid once, who waits is paid later, and nothing is lost on the way."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.distribution import check_proof, manifest_hash, read_proof
from ledger_pipeline.core.distribution_signing import DistributionData
from ledger_pipeline.core.errors import (
    DistributionError,
    EpochNotReady,
    IdentityError,
    SignerNotApproved,
    StoreError,
)
from ledger_pipeline.core.linking import make_link_message
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.pipeline.distribution import Built, Token, built, recomputed
from ledger_pipeline.pipeline.distribution_signatures import good_signatures, sign
from ledger_pipeline.pipeline.linking import link_by_approver, link_by_operator
from ledger_pipeline.pipeline.payout_wallets import WalletBook
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.wallets import keccak256
from ledger_pipeline_tests.builders import ADA, GRACE, NODE_ID, SCOPE_ID, instant, window
from ledger_pipeline_tests.pipeline.test_co_authors import ALONE, ANNIE, KATHERINE, REVIEWED, SHARED, shared
from ledger_pipeline_tests.postgres import fresh_database
from ledger_pipeline_tests.store.distributing import (
    ADA_KEY,
    ADAS,
    GRACE_KEY,
    GRACES,
    TOKEN,
    WHOLE,
    distributed,
    give_wallets,
    held,
    paid,
)
from ledger_pipeline_tests.store.settlement import (
    APPROVER,
    APPROVERS,
    SECOND_APPROVER,
    STRANGER,
    Books,
    finalized,
    refused,
    reviewed,
    rows_of,
)
from ledger_pipeline_tests.store.test_roles import urls

TABLES = ("distributions", "distribution_epochs", "distribution_lines")
ADAS_SHARE = WHOLE * 8 // 10 + 1  # hers is the larger remainder
GRACES_SHARE = WHOLE - ADAS_SHARE


def test_everybody_with_a_wallet_is_paid_and_the_totals_are_the_statements(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS, user_grace=GRACES)
    made = distributed(books)
    assert made.is_new
    assert paid(made) == {ADA_KEY: (ADAS_SHARE, ADAS), GRACE_KEY: (GRACES_SHARE, GRACES)}
    assert (made.total_credits, made.paid_credits, made.held_back) == (10_000, 10_000, [])
    ids = [leaf.paid.event_ids for leaf in made.distribution.leaves]
    assert [len(row) for row in ids] == [2, 1]
    for leaf in made.distribution.leaves:
        check_proof(read_proof(made.distribution.proof_file(leaf)), keccak256)
    stored = ledger.distributions.numbered(SCOPE_ID, made.number)
    assert stored.merkle_root == made.distribution.merkle_root
    assert stored.manifest_hash == manifest_hash(made.distribution.manifest())


def test_who_has_no_wallet_is_held_back_and_enters_a_later_distribution_once(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    first = distributed(books)
    assert paid(first) == {ADA_KEY: (ADAS_SHARE, ADAS)}
    assert held(first) == {GRACE_KEY: GRACES_SHARE}
    again = distributed(books)
    assert (again.number, again.is_new, again.distribution) == (first.number, False, first.distribution)
    give_wallets(books, user_grace=GRACES)
    later = distributed(books, amount=None)
    assert later.is_new
    assert paid(later) == {GRACE_KEY: (GRACES_SHARE, GRACES)}
    assert later.distribution.terms.distribution_id == "distribution-2"
    for amount in (None, WHOLE):
        last = distributed(books, amount)
        assert (last.number, last.is_new, held(last)) == (later.number, False, {})
    assert rows_of(ledger_engine, *TABLES) == {
        "distributions": 2,
        "distribution_epochs": 2,
        "distribution_lines": 2,
    }


def test_two_builds_at_once_make_one(ledger: PostgresLedger, ledger_url: str, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    barrier = Barrier(4)

    def builds(_: int) -> Built:
        engine = make_engine(ledger_url)
        theirs = books.seen_by(engine)
        assert theirs.epoch
        barrier.wait(30)
        made = distributed(theirs)
        engine.dispose()
        return made

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(builds, range(4)))
    assert sorted(row.is_new for row in made) == [False, False, False, True]
    assert {row.distribution.merkle_root for row in made} == {made[0].distribution.merkle_root}
    assert rows_of(ledger_engine, *TABLES) == dict.fromkeys(TABLES, 1)


def test_a_build_needs_one_connection(ledger: PostgresLedger, ledger_url: str) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    engine = make_engine(ledger_url, limits=DatabaseLimits(pool_size=1, pool_wait_seconds=1))
    assert distributed(books.seen_by(engine)).is_new
    engine.dispose()


def test_several_epochs_are_one_distribution_and_their_claimants_one_leaf_each(ledger: PostgresLedger) -> None:
    first, second = finalized(ledger), finalized(ledger, of=window("2026-02-23"))
    give_wallets(first, user_ada=ADAS)
    made = distributed(first, also=[second])
    assert paid(made) == {ADA_KEY: (sum(line.amount for line in _lines(made, ledger)), ADAS)}
    assert made.distribution.leaves[0].paid.credits == 16_000
    assert sum(held(made).values()) + made.distribution.terms.amount == WHOLE
    with pytest.raises(DistributionError, match="an epoch is named twice"):
        distributed(first, also=[first])
    third = finalized(ledger, of=window("2026-03-02"))
    with pytest.raises(DistributionError, match="epoch 2026-03-02 never; epoch 2026-02-16 by distribution 1; build"):
        distributed(first, also=[third])
    give_wallets(first, user_grace=GRACES)
    assert paid(distributed(second, None, also=[first])) == {GRACE_KEY: (sum(held(made).values()), GRACES)}


def _lines(made: Built, ledger: PostgresLedger) -> list[object]:
    return list(ledger.distributions.numbered(SCOPE_ID, made.number).lines)


def test_what_was_first_said_of_an_epoch_holds(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    with pytest.raises(DistributionError, match="no claimant of epoch 2026-02-16 has a wallet"):
        distributed(books)
    give_wallets(books, user_ada=ADAS)
    with pytest.raises(DistributionError, match="nothing was distributed of these epochs yet: give --amount"):
        distributed(books, amount=None)
    distributed(books)
    with pytest.raises(DistributionError, match=f"distribute {WHOLE} together, as was first said, not 5"):
        distributed(books, amount=5)
    for token in (replace(TOKEN, chain_id=1), Token(TOKEN.chain_id, ADAS)):
        with pytest.raises(DistributionError, match="an epoch has one token"):
            distributed(books, token=token)


def test_without_a_statement_in_force_nothing_is_distributed(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    give_wallets(books, user_ada=ADAS)
    with pytest.raises(EpochNotReady, match="has no statement in force"):
        distributed(books)
    assert rows_of(ledger_engine, *TABLES) == dict.fromkeys(TABLES, 0)


def test_an_amendment_pays_who_waits_what_it_says_and_never_takes_back(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    give_wallets(books, user_grace=GRACES)
    distributed(books)
    books.amend("user-ada", 8000)  # Grace has less by it than she was paid
    give_wallets(books, user_ada=ADAS)
    with pytest.raises(DistributionError) as refusal:
        distributed(books, amount=None)
    assert "leaves 1,412 credits too few for who waits: paid were user:user-grace 2,000 instead of 588" in str(
        refusal.value
    )
    assert held(built(ledger, books.scope, ledger.distributions.numbered(SCOPE_ID, 1)))
    books.amend("user-grace", 4000)  # and now more: what she was paid counts
    made = distributed(books, amount=None)
    [leaf] = made.distribution.leaves
    assert (leaf.paid.claimant_key, leaf.paid.credits) == (ADA_KEY, 6667)
    assert leaf.amount == (WHOLE - GRACES_SHARE) * 6667 // 8000
    assert (made.total_credits, made.paid_credits) == (10_000, 8667)


def test_an_account_that_nobody_linked_is_paid_to_who_linked_it_since(ledger: PostgresLedger) -> None:
    books = finalized(ledger, users={ADA.user_id: "user-ada"})
    give_wallets(books, user_ada=ADAS, user_grace=GRACES)
    first = distributed(books)
    key = f"identity:github:{GRACE.user_id}"
    assert held(first) == {key: GRACES_SHARE}
    books.bind({GRACE.user_id: "user-grace"})
    assert paid(distributed(books, None)) == {key: (GRACES_SHARE, GRACES)}


def test_co_authors_have_a_leaf_each_with_the_event_that_they_share(ledger: PostgresLedger) -> None:
    books = shared(ledger)
    books.materialize()
    books.close()
    books.materialize()
    books.finalize(books.signature())
    give_wallets(books, user_ada=ADAS, user_grace=GRACES)
    made = distributed(books)
    assert held(made).keys() == {ANNIE, KATHERINE}
    events = {leaf.paid.claimant_key: set(leaf.paid.event_ids) for leaf in made.distribution.leaves}
    assert events == {ADA_KEY: {SHARED.id, ALONE.id}, GRACE_KEY: {SHARED.id, REVIEWED.id}}


def link(books: Books, *, operator: str | None = None) -> None:
    """Ada's account shows the wallet of STRANGER, and an approver vouches for it, or an operator's word."""
    now = instant("2026-03-01")
    message = make_link_message(
        node_id=NODE_ID,
        user_id="user-ada",
        provider=GITHUB,
        account_id=str(ADA.user_id),
        login="ada",
        wallet=STRANGER.address,
        nonce=("b" if operator else "a") * 32,
        until=instant("2026-03-02"),
    ).text()
    signature = STRANGER.sign(message)
    if operator is None:
        link_by_approver(books.ledger, books.scope, message, signature, APPROVER.sign(message), now)
    else:
        link_by_operator(books.ledger, books.scope, message, signature, operator, now)


def test_a_wallet_that_was_linked_with_proof_is_paid_and_an_operators_word_pays_nobody(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    link(books, operator="she said so")
    assert WalletBook(ledger, books.scope).of(ADA_KEY) is None
    link(books)
    assert paid(distributed(books)) == {ADA_KEY: (ADAS_SHARE, STRANGER.address)}


def test_the_last_word_on_a_wallet_counts_and_only_an_approvers(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    with pytest.raises(SignerNotApproved, match="this one is of list 2"):
        give_wallets(books, by=STRANGER, user_ada=GRACES)
    give_wallets(books, user_ada=GRACES, reason="she moved")
    wallet = WalletBook(ledger, books.scope).of(ADA_KEY)
    assert wallet is not None
    assert (wallet.address, wallet.rests_on) == (GRACES, f"approver {APPROVER.address} in list 2: she moved")
    # What whoever may write adds is no approver's: lists of before written once more, others, and junk.
    for wallets in (f'{{"{ADA_KEY}": "{ADAS}"}}', f'{{"{ADA_KEY}": 7}}', f'{{"{ADA_KEY}": ["x"]}}', '{"": null}'):
        with ledger_engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO payout_wallets (node_id, number, wallets, reason, approver, approver_signature) "
                    "SELECT node_id, (SELECT max(number) + 1 FROM payout_wallets), CAST(:wallets AS jsonb), reason, "
                    "approver, approver_signature FROM payout_wallets WHERE number = 1"
                ),
                {"wallets": wallets},
            )
    assert WalletBook(ledger, books.scope).of(ADA_KEY) == wallet
    assert "the next number is 7, not 9" in refused(
        ledger_engine,
        "INSERT INTO payout_wallets (node_id, number, wallets, reason, approver, approver_signature) "
        "SELECT node_id, 9, wallets, reason, approver, approver_signature FROM payout_wallets WHERE number = 1",
    )
    # An approver who is none any more gave nobody a wallet.
    assert WalletBook(ledger, books.with_scope(approvers=(STRANGER.address,)).scope).of(ADA_KEY) is None


@pytest.mark.parametrize(
    ("wallets", "reason", "problem"),
    [
        ({}, "why", "from 1 to 1,000 wallets, not 0"),
        ({"user_ada": ADAS}, " ", "the reason is not one line of plain text"),
        ({"user_ada": ADAS}, "one\nuser:eve: 0x12", "the reason is not one line of plain text"),
        ({"user_ada": "0x12"}, "why", "'0x12' is no address"),
        ({"user_ada": f"0x{'0' * 40}"}, "why", "is nobody's address"),
        ({"user_ada": ADAS.replace("A", "a")}, "why", "has another checksum than its digits"),
        ({"user_ada": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"}, "why", "everybody has the key of"),
        ({"user:ada": ADAS}, "why", "user"),
    ],
)
def test_a_list_of_wallets_that_is_none_is_refused_by_name(
    ledger: PostgresLedger, wallets: dict[str, str], reason: str, problem: str
) -> None:
    with pytest.raises((IdentityError, DistributionError)) as refusal:
        give_wallets(Books(ledger), reason=reason, **wallets)
    assert problem in str(refusal.value)
    assert ledger.payout_wallets.lists() == []


# Who may write to the ledger.


@pytest.fixture(scope="module")
def made(postgres_server: str, migrated_template: str):  # type: ignore[no-untyped-def]
    """An epoch of which Ada was paid; what is refused leaves it as it is."""
    with fresh_database(postgres_server, migrated_template) as url:
        engine = make_engine(url)
        books = finalized(PostgresLedger(engine, NODE_ID))
        give_wallets(books, user_ada=ADAS)
        distributed(books)
        yield engine
        engine.dispose()


HASHES = f"'0x{'a' * 64}', '0x{'a' * 64}', '0x{'a' * 64}'"
NEXT = f"""
    INSERT INTO distributions (node_id, number, scope_id, chain_id, token_address, amount, statement_hash, merkle_root,
        manifest_hash) SELECT node_id, 2, scope_id, 84532, token_address, '{{amount}}', {HASHES} FROM distributions
"""
ITS_EPOCH = """
    INSERT INTO distribution_epochs (node_id, number, epoch_id, statement_id, amount)
    SELECT node_id, 2, epoch_id, statement_id, {amount} FROM distribution_epochs
"""
A_LINE = """
    INSERT INTO distribution_lines (node_id, epoch_id, claimant_key, place, number, credits, amount, account, receipts)
    SELECT node_id, epoch_id, '{key}', {place}, {number}, {credits}, '{amount}', account, '{{}}'
    FROM distribution_lines
"""
GRACES_LINE = {"key": GRACE_KEY, "place": 0, "number": 2, "credits": 2000, "amount": "1"}


@pytest.mark.parametrize(
    ("line", "whole", "of_epoch", "problem"),
    [
        ({"key": ADA_KEY, "credits": 8000}, "1", "amount", "distribution_lines_pkey"),
        ({"key": ADA_KEY, "credits": 8000, "place": 1}, "1", "amount", "1 is not the next place of user:user-ada"),
        ({"key": "user-ada", "credits": 8000}, "1", "amount", "has 0 credits for user-ada, not 8000"),
        ({"credits": 2001}, "1", "amount", "has 2000 credits for user:user-grace, not 2001"),
        ({"number": 1}, "1", "amount", "distribution 1 is not of this transaction"),
        ({}, "2", "amount", "the lines of 2 do not have its amount together"),
        ({"amount": str(10**30)}, str(10**30), "amount", "more would be distributed than"),
        ({}, "1", "'5'", "was distributed before, in another token or another amount"),
    ],
)
def test_no_line_is_paid_twice_and_no_distribution_is_made_up(
    made: Engine, line: dict[str, object], whole: str, of_epoch: str, problem: str
) -> None:
    statements = [
        NEXT.format(amount=whole),
        ITS_EPOCH.format(amount=of_epoch),
        A_LINE.format(**{**GRACES_LINE, **line}),
    ]
    assert problem in refused(made, ";".join(statements).replace(":", r"\:"))
    assert rows_of(made, *TABLES) == dict.fromkeys(TABLES, 1)


def test_what_was_distributed_never_changes_and_the_owner_alone_sets_it_aside(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    first = distributed(books)
    for table in (*TABLES, "payout_wallets"):
        for change in (f"UPDATE {table} SET node_id = node_id", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            assert "refused" in refused(ledger_engine, change)
    with pytest.raises(DistributionError, match="needs a reason"):
        ledger.distributions.set_aside(SCOPE_ID, first.number, " ")
    assert ledger.distributions.set_aside(SCOPE_ID, first.number, "somebody made it up")
    assert not ledger.distributions.set_aside(SCOPE_ID, first.number, "again")
    stored = ledger.distributions.numbered(SCOPE_ID, first.number)
    assert stored.set_aside is not None
    assert stored.set_aside.reason == "somebody made it up"
    give_wallets(books, user_grace=GRACES)
    second = distributed(books, amount=5)
    assert (second.number, paid(second)) == (2, {ADA_KEY: (4, ADAS), GRACE_KEY: (1, GRACES)})


def test_the_writer_alone_does_all_of_it_but_setting_aside(ledger: PostgresLedger, ledger_url: str) -> None:
    books = finalized(ledger)
    ensure_logins(ledger_url, urls(ledger_url))
    engine = make_engine(urls(ledger_url)[WRITER])
    writers = books.seen_by(engine)
    give_wallets(writers, user_ada=ADAS)
    assert paid(distributed(writers)) == {ADA_KEY: (ADAS_SHARE, ADAS)}
    with pytest.raises(StoreError, match="permission denied"):
        writers.ledger.distributions.set_aside(SCOPE_ID, 1, "I say so")
    engine.dispose()


def test_a_distribution_that_does_not_follow_from_its_rows_is_named(ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    stored = ledger.distributions.numbered(SCOPE_ID, distributed(books).number)
    assert recomputed(NODE_ID, stored).merkle_root == stored.merkle_root
    for changed in (replace(stored, merkle_root=f"0x{'a' * 64}"), replace(stored, chain_id=1)):
        with pytest.raises(DistributionError, match="distribution 1 does not follow from its rows"):
            recomputed(NODE_ID, changed)
    with pytest.raises(DistributionError, match="the scope has no distribution 7"):
        ledger.distributions.numbered(SCOPE_ID, 7)
    with pytest.raises(DistributionError, match="the scope has no distribution 1"):
        ledger.distributions.numbered(NODE_ID, 1)  # of a scope of that id


def test_a_signature_counts_once_for_an_approver_and_of_its_own_distribution_alone(
    ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    give_wallets(books, user_ada=ADAS)
    first = distributed(books).distribution
    give_wallets(books, user_grace=GRACES)
    second = distributed(books, None).distribution
    signature = APPROVER.sign(DistributionData(first))
    made = sign(ledger, books.scope, 1, signature)
    assert made is not None
    assert made.signer_wallet == APPROVER.address
    assert sign(ledger, books.scope, 1, signature) is None
    with pytest.raises(SignerNotApproved, match="`distribution sign-data 2` prints this one"):
        sign(ledger, books.scope, 2, signature)
    with pytest.raises(SignerNotApproved):
        sign(ledger, books.scope, 1, STRANGER.sign(DistributionData(first)))
    # Whoever may write parks it under the other, and makes up one of the second approver.
    with ledger_engine.begin() as connection:
        for number, signer in ((2, APPROVER), (1, SECOND_APPROVER)):
            connection.execute(
                text(
                    "INSERT INTO distribution_signatures (node_id, number, signer_wallet, signature) "
                    "SELECT node_id, :number, :signer, signature FROM distribution_signatures WHERE number = 1 LIMIT 1"
                ),
                {"number": number, "signer": signer.address},
            )
    for number, distribution, good in ((1, first, [made]), (2, second, [])):
        stored = ledger.distributions.signatures(number, APPROVERS)
        assert len(stored) == 3 - number
        assert good_signatures(distribution, stored, APPROVERS) == good
    for change in ("UPDATE {} SET node_id = node_id", "DELETE FROM {}", "TRUNCATE {}"):
        assert "refused" in refused(ledger_engine, change.format("distribution_signatures"))
    ledger.distributions.set_aside(SCOPE_ID, 2, "nobody pays it")
    with pytest.raises(DistributionError, match="was set aside, so nobody signs it"):
        sign(ledger, books.scope, 2, APPROVER.sign(DistributionData(second)))
