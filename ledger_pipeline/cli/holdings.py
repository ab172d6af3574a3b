"""`ledger-pipeline holdings`: who holds how many credits of all that was signed."""

from typing import Annotated

import typer

from ledger_pipeline.cli.ledger_access import open_access
from ledger_pipeline.cli.options import Json, ScopeKey, instant
from ledger_pipeline.cli.output import print_json, print_table, say
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.holdings import Claim, Holding
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.pipeline.holdings import holdings_of

User = Annotated[
    str | None, typer.Option("--user", help="Only this user, or this account's key, with every claim of theirs.")
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="INSTANT", help="By the statements and links of then (ISO 8601, or a date in UTC)."),
]


def command(user: User = None, at: At = None, scope_key: ScopeKey = None, as_json: Json = False) -> None:
    """Print who holds how many credits of all statements in force, and what is reserved for accounts nobody linked.

    An account's credits are whoever's it is linked to at the time of asking; no statement changes by that.
    """
    moment = instant(at)
    with open_access(scope_key) as access:
        scopes = [access.scope] if scope_key else list(access.spec.scopes)
        held = holdings_of(access.ledger, scopes, moment)
    if user is not None:
        held = [holding for holding in held if user in (holding.holder.set_hash_key, holding.holder.key)]
        if not held:
            raise IdentityError(f"{quoted(user)} holds nothing: no statement in force gives them any credit")
    if as_json:
        print_json([_holding_json(holding) for holding in held])
    elif user is not None:
        _print_claims(held[0])
    else:
        _print_holdings(held)


def _print_holdings(held: list[Holding]) -> None:
    users = [holding for holding in held if not holding.is_reserved]
    accounts = [holding for holding in held if holding.is_reserved]
    rows = [
        [
            holding.holder.set_hash_key,
            _credits(holding.amount_credits),
            _credits(holding.credits_of_accounts),
            len({(claim.scope_key, claim.epoch_key) for claim in holding.claims}),
            _epochs(holding),
        ]
        for holding in held
    ]
    columns = ["holder", "credits", "stated for an account", "epochs", "first to last"]
    print_table(f"{counted(_sum(users), 'credit')} of {counted(len(users), 'user')}", columns, rows)
    if accounts:
        say(
            f"{counted(_sum(accounts), 'credit')} reserved for {counted(len(accounts), 'account')} that nobody linked: "
            "`ledger-pipeline identities challenge` begins a link"
        )


def _print_claims(holding: Holding) -> None:
    rows = [
        [claim.epoch_key, claim.scope_key, _credits(claim.amount_credits), claim.claimant.key, str(claim.statement_id)]
        for claim in holding.claims
    ]
    title = f"{holding.holder.set_hash_key}: {counted(holding.amount_credits, 'credit')}"
    if holding.is_reserved:
        title += ", reserved until somebody links the account"
    print_table(title, ["epoch", "scope", "credits", "stated for", "statement"], rows)


def _sum(held: list[Holding]) -> int:
    return sum(holding.amount_credits for holding in held)


def _credits(amount_credits: int) -> str:
    return f"{amount_credits:,}"


def _epochs(holding: Holding) -> str:
    keys = sorted({claim.epoch_key for claim in holding.claims})
    return keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"


def _holding_json(holding: Holding) -> dict[str, object]:
    return {
        "holder": holding.holder.key,
        "is_reserved": holding.is_reserved,
        "amount_credits": str(holding.amount_credits),
        "claims": [_claim_json(claim) for claim in holding.claims],
    }


def _claim_json(claim: Claim) -> dict[str, object]:
    return {
        "scope_key": claim.scope_key,
        "epoch": claim.epoch_key,
        "epoch_id": str(claim.epoch_id),
        "statement_id": claim.statement_id,
        "claimant": claim.claimant.key,
        "amount_credits": str(claim.amount_credits),
    }
