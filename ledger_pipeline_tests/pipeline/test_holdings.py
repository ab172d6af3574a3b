"""From unlinked contributors to a signed statement, to a later link that moves nothing, and to who holds what."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger_pipeline.core.holdings import Holding
from ledger_pipeline.epoch_page.index import index_content
from ledger_pipeline.epoch_page.render import render_index
from ledger_pipeline.pipeline.holdings import holdings_of
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import NewBinding
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline_tests.builders import ADA, GRACE, REPO, weeks
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVERS,
    GRACE_USER,
    Books,
    finalized,
    reviewed,
)

GRACES_ACCOUNT = f"identity:github:{GRACE.user_id}"
ONLY_ADA = {ADA.user_id: ADA_USER}
FIRST, SECOND, THIRD = weeks(3, "2026-02-09")


def amounts(held: list[Holding]) -> dict[str, int]:
    return {holding.holder.set_hash_key: holding.amount_credits for holding in held}


@pytest.fixture
def signed(ledger: PostgresLedger) -> list[Books]:
    """Two epochs that are signed, in which Ada has 8,000 credits each and Grace's account 2,000; one in review."""
    books = [finalized(ledger, users=ONLY_ADA, of=week) for week in (FIRST, SECOND)]
    reviewed(ledger, users=ONLY_ADA, of=THIRD)
    return books


def test_a_later_link_moves_nothing_that_was_signed_and_the_credits_are_the_users(
    ledger: PostgresLedger, signed: list[Books]
) -> None:
    rows = [facts_of(ledger.statements.rows(books.epoch)) for books in signed]
    scopes = [signed[0].scope]
    assert amounts(holdings_of(ledger, scopes)) == {ADA_USER: 16_000, GRACES_ACCOUNT: 4_000}
    before = datetime.now(UTC)
    signed[0].bind({GRACE.user_id: GRACE_USER})
    held = holdings_of(ledger, scopes)
    assert amounts(held) == {ADA_USER: 16_000, GRACE_USER: 4_000}
    assert [claim.epoch_key for claim in held[1].claims] == [FIRST.key, SECOND.key]
    assert [claim.claimant.key for claim in held[1].claims] == [GRACES_ACCOUNT] * 2
    ledger.identities.move(NewBinding("github", str(GRACE.user_id), ADA_USER), "it was hers")
    assert amounts(holdings_of(ledger, scopes)) == {ADA_USER: 20_000}
    # As it was before, by the links and the statements of then.
    assert amounts(holdings_of(ledger, scopes, before)) == {ADA_USER: 16_000, GRACES_ACCOUNT: 4_000}
    [of_first] = ledger.statements.of(signed[0].epoch)
    assert amounts(holdings_of(ledger, scopes, of_first.created_at - timedelta(microseconds=1))) == {}
    assert [facts_of(ledger.statements.rows(books.epoch)) for books in signed] == rows


def test_the_command_says_who_holds_what_and_what_is_reserved(
    ledger: PostgresLedger, signed: list[Books], command: Command, ledger_url: str, tmp_path: Path
) -> None:
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    ran = command("holdings", **given)
    assert ran.out.splitlines()[0] == "16,000 credits of 1 user"
    assert "4,000 credits reserved for 1 account that nobody linked" in ran.out
    reserved = command("holdings", "--user", GRACES_ACCOUNT, **given).out.splitlines()
    assert reserved[0] == f"{GRACES_ACCOUNT}: 4,000 credits, reserved until somebody links the account"
    before = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    signed[0].bind({GRACE.user_id: GRACE_USER})
    [of_grace] = command("holdings", "--user", GRACE_USER, "--json", **given).json
    assert (of_grace["holder"], of_grace["amount_credits"], of_grace["is_reserved"]) == (
        f"user:{GRACE_USER}",
        "4000",
        False,
    )
    assert {(claim["epoch"], claim["claimant"], claim["amount_credits"]) for claim in of_grace["claims"]} == {
        (FIRST.key, GRACES_ACCOUNT, "2000"),
        (SECOND.key, GRACES_ACCOUNT, "2000"),
    }
    [_, then] = command("holdings", "--at", before, "--scope", "default", "--json", **given).json
    assert (then["holder"], then["is_reserved"]) == (GRACES_ACCOUNT, True)
    nobody = command("holdings", "--user", "nobody", **given)
    assert (nobody.code, "holds nothing" in nobody.err) == (1, True)


def test_the_page_over_all_epochs_has_the_holdings(ledger: PostgresLedger, signed: list[Books]) -> None:
    epochs = [books.epoch for books in signed]
    html = render_index(index_content(ledger, signed[0].scope, epochs, datetime.now(UTC)))
    assert f'{GRACES_ACCOUNT}</td><td class="number">4,000</td>\n<td>reserved: nobody linked the account' in html
    signed[0].bind({GRACE.user_id: GRACE_USER})
    html = render_index(index_content(ledger, signed[0].scope, epochs, datetime.now(UTC)))
    assert f'{GRACE_USER}</td><td class="number">4,000</td>\n<td>by the user, 4,000 of it by a link' in html
