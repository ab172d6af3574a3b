"""The rule of ids in the database: the same as in the code, on every column that a user or account is written to."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from ledger_pipeline.core.allocations import ProposedAllocation
from ledger_pipeline.core.errors import EpochNotReady, IdentityError, StoreError
from ledger_pipeline.core.identifiers import FORBIDDEN, why_not_an_account, why_not_an_id
from ledger_pipeline.core.statements import UserUnits, allocation_set_hash
from ledger_pipeline.pipeline.allocate import curate
from ledger_pipeline.store import migrations
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.builders import ADA, GRACE, NODE_ID, weeks
from ledger_pipeline_tests.core.test_identifiers import EVIL, GOOD, REFUSED
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    EVENTS,
    GRACE_USER,
    Books,
    finalized,
    refused,
    reviewed,
)

# What the rule of ids changed is as if it had never been: a ledger from before it.
BEFORE = "0039"


def is_id(engine: Engine, *values: str) -> list[bool]:
    with engine.connect() as connection:
        rows = connection.scalars(
            text(
                "SELECT ledger_is_id(value) FROM unnest(CAST(:values AS text[])) WITH ORDINALITY AS t (value, nth) "
                "ORDER BY nth"
            ),
            {"values": list(values)},
        )
        return list(rows)


def test_the_database_knows_every_character_that_the_code_refuses(ledger_engine: Engine) -> None:
    edges = {edge for first, last in FORBIDDEN for edge in (first - 1, first, last, last + 1)}
    storable = [f"a{chr(edge)}b" for edge in sorted(edges) if 0 < edge < 0x110000 and not 0xD800 <= edge < 0xE000]
    values = [
        *storable,
        *GOOD,
        *(value for value, _ in REFUSED.values() if "\x00" not in value and "\ud800" not in value),
    ]
    assert is_id(ledger_engine, *values) == [why_not_an_id(value) is None for value in values]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\x00"), max_size=6), max_size=40
    )
)
def test_the_database_and_the_code_agree(ledger_engine: Engine, values: list[str]) -> None:
    assert is_id(ledger_engine, *values) == [why_not_an_id(value) is None for value in values]


def test_the_database_and_the_code_agree_on_accounts(ledger_engine: Engine) -> None:
    accounts = ["7", "007", "\u0663", "0", "", " 7", "7 ", "7\n", "9" * 19, "9" * 20, "ada"]
    with ledger_engine.connect() as connection:
        for provider in ("github", "discord"):
            for account in accounts:
                stored = connection.scalar(text("SELECT ledger_is_account(:p, :a)"), {"p": provider, "a": account})
                assert stored == (why_not_an_account(provider, account) is None), (provider, account)


# The attack: one signature of ada 8,000 and grace 2,000 pays all 10,000 to an account of the attacker's.


def test_one_signature_redirects_no_pool(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = reviewed(ledger)
    signature = books.signature()
    for event in EVENTS[:2]:
        assert ledger.curation.judge(books.epoch, event.id, Judgement("hush", included=False))
    doors: tuple[Callable[[], object], ...] = (
        lambda: ledger.identities.bind([NewBinding("github", "900", EVIL)]),
        lambda: ledger.identities.move(NewBinding("github", str(GRACE.user_id), EVIL)),
        lambda: ledger.allocations.decide(books.epoch, EVIL, 500, "hush"),
        lambda: ledger.allocations.propose(books.epoch, [ProposedAllocation(EVIL, 500, 1)]),
    )
    for door in doors:
        with pytest.raises(IdentityError, match="has a colon"):
            door()
    # Past the program, as whoever has the writer's login.
    for statement in (
        "UPDATE user_bindings SET user_id = :evil",
        "INSERT INTO user_bindings (node_id, provider, external_id, user_id) VALUES (:node, 'github', '9', :evil)",
        "UPDATE activity_curation SET user_id = :evil",
        "INSERT INTO epoch_allocations (node_id, epoch_id, user_id, proposed_units, activity_count) "
        "SELECT :node, id, :evil, 500, 1 FROM epochs",
    ):
        given = {"node": NODE_ID, "evil": EVIL} if ":node" in statement else {"evil": EVIL}
        assert 'refused: "user-ada:2000?user-grace" is no id of a user' in refused(ledger_engine, statement, **given)
    other_user = "UPDATE epoch_allocations SET user_id = :evil WHERE user_id = 'user-ada'"
    assert "and user user-ada, and stays so" in refused(ledger_engine, other_user, evil=EVIL)
    second_books = finalized(ledger, of=weeks(2, "2026-02-16")[1])
    correct = (
        "INSERT INTO statement_corrections (node_id, epoch_id, supersedes_statement_id, user_id, units, reason) "
        "SELECT node_id, epoch_id, id, :evil, 500, 'hush' FROM payout_statements"
    )
    assert "INSERT into statement_corrections refused" in refused(ledger_engine, correct, evil=EVIL)
    with pytest.raises(IdentityError, match="has a colon"):
        second_books.correct(EVIL, 500, "hush")
    stated = """
        INSERT INTO payout_statements (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json)
        SELECT :node, id, :hash, 10000, jsonb_build_array(jsonb_build_object('userId', CAST(:evil AS text),
            'totalUnits', '500', 'share', '1.000000', 'amountCredits', '10000')) FROM epochs WHERE status = 'review'
    """
    twin = allocation_set_hash([UserUnits(EVIL, 500)])
    assert twin == allocation_set_hash([UserUnits(ADA_USER, 2000), UserUnits(GRACE_USER, 500)])
    given = {"node": NODE_ID, "hash": twin, "evil": EVIL}
    assert "INSERT into payout_statements refused" in refused(ledger_engine, stated, **given)
    with pytest.raises(EpochNotReady, match="do not follow from its curation"):
        books.finalize(signature)


def before_the_rule(books: Books, ledger_url: str, user_id: str) -> None:
    """Grace is `user_id` in a ledger of an earlier release, which is then brought to this one."""
    migrations.downgrade(ledger_url, BEFORE)
    engine = books.ledger._engine
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE epochs DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE epochs SET pinned_spec = pinned_spec - 'claimants'"))
        connection.execute(text("ALTER TABLE epochs ENABLE TRIGGER USER"))
        for table in ("user_bindings", "activity_curation", "epoch_allocations"):
            connection.execute(
                text(f"UPDATE {table} SET user_id = :user WHERE user_id = :grace"),
                {"user": user_id, "grace": GRACE_USER},
            )
    migrations.upgrade(ledger_url)


def test_a_ledger_from_before_is_upgraded_and_says_what_to_do(
    ledger: PostgresLedger, ledger_url: str, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    before_the_rule(books, ledger_url, "did:key:grace")
    with pytest.raises(EpochNotReady, match=r"user 'did:key:grace' has a colon: give the account another user with"):
        books.draft()
    assert ledger.identities.move(NewBinding("github", str(GRACE.user_id), GRACE_USER)) == 1
    books.materialize()
    books.finalize(books.signature())
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


def test_new_curation_by_a_binding_from_before_names_it(ledger: PostgresLedger, ledger_url: str) -> None:
    books = reviewed(ledger, users={ADA.user_id: ADA_USER})
    ledger.identities.bind([NewBinding("github", str(GRACE.user_id), GRACE_USER)])
    before_the_rule(books, ledger_url, "did:key:grace")
    with pytest.raises(StoreError, match=r'"did:key:grace" is no id of a user, .* `ledger-pipeline identities list`'):
        curate(ledger, books.scope, books.epoch)


def test_what_was_stated_before_the_rule_verifies_with_a_warning_and_can_be_amended(
    ledger: PostgresLedger, ledger_url: str, ledger_engine: Engine
) -> None:
    books = reviewed(ledger)
    epoch_id = books.epoch.id
    migrations.downgrade(ledger_url, BEFORE)
    with ledger_engine.begin() as connection:
        # As an earlier release closed it, and named people.
        connection.execute(text("ALTER TABLE epochs DISABLE TRIGGER USER"))
        connection.execute(text("UPDATE epochs SET pinned_spec = pinned_spec - 'id_rule'"))
        connection.execute(text("ALTER TABLE epochs ENABLE TRIGGER USER"))
        for table in ("user_bindings", "activity_curation", "epoch_allocations"):
            connection.execute(text(f"UPDATE {table} SET user_id = 'did:key:grace' WHERE user_id = 'user-grace'"))
    units = [UserUnits("did:key:grace", 500), UserUnits(ADA_USER, 2000)]
    message = (
        f"Cogni Payout Statement v1\nNode: {NODE_ID}\nScope: {books.scope.scope_id}\nEpoch: {epoch_id}\n"
        f"Allocation Hash: {allocation_set_hash(units)}\nPool Total: 10000"
    )
    with ledger_engine.begin() as connection:
        statement_id = connection.scalar(
            text("""
                INSERT INTO payout_statements
                    (node_id, epoch_id, allocation_set_hash, pool_total_credits, payouts_json)
                VALUES (:node, :epoch, :hash, 10000, CAST(:payouts AS jsonb)) RETURNING id
            """),
            {
                "node": NODE_ID,
                "epoch": epoch_id,
                "hash": allocation_set_hash(units),
                "payouts": """[
                    {"userId": "did:key:grace", "totalUnits": "500", "share": "0.200000", "amountCredits": "2000"},
                    {"userId": "user-ada", "totalUnits": "2000", "share": "0.800000", "amountCredits": "8000"}
                ]""",
            },
        )
        connection.execute(
            text("""
                INSERT INTO statement_signatures (node_id, statement_id, signer_wallet, signature)
                VALUES (:node, :under, :wallet, :signature)
            """),
            {"node": NODE_ID, "under": statement_id, "wallet": APPROVER.address, "signature": APPROVER.sign(message)},
        )
        connection.execute(text("UPDATE epochs SET status = 'finalized', pool_total_credits = 10000"))
    migrations.upgrade(ledger_url)
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert verify(facts) == []
    [warning] = Examination(facts).warnings()
    assert "it closed before there was a rule for ids" in warning
    assert "user 'did:key:grace' has a colon" in warning
    with pytest.raises(IdentityError, match="has a colon"):
        books.correct("did:key:lin", 7, "forgotten")
    books.correct("did:key:grace", 501, "one more")
    books.finalize(books.signature())
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []


def test_an_account_that_github_does_not_give_is_refused(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    assert books.epoch
    bind = (
        "INSERT INTO user_bindings (node_id, provider, external_id, user_id) VALUES (:node, :provider, :account, 'ada')"
    )
    for provider, account in (("github", "007"), ("github", "\u0663"), ("discord", "a:b"), ("git:hub", "7")):
        given = {"node": NODE_ID, "provider": provider, "account": account}
        assert "the account is none of its provider" in refused(ledger_engine, bind, **given)
    columns = (
        "node_id, scope_id, source, event_type, platform_login, artifact_url, metadata, payload_hash, producer, "
        "producer_version, event_time, retrieved_at"
    )
    for account in ("007", "\u0663"):
        copied = (
            f"INSERT INTO activity_events (id, platform_user_id, {columns}) "
            f"SELECT 'x', :account, {columns} FROM activity_events"
        )
        assert "the account is none of its provider" in refused(ledger_engine, copied, account=account)
