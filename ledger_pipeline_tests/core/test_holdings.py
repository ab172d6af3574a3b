"""Whose the credits of signed statements are: links move claims to users, and no credit of anybody else."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.claimants import Claimant, IdentityClaimant, UserClaimant
from ledger_pipeline.core.holdings import Claim, holdings

ACCOUNTS = [IdentityClaimant("github", str(number)) for number in range(1, 6)]
USERS = [UserClaimant(name) for name in ("ada", "grace", "lin")]
CLAIMS = st.lists(
    st.builds(
        Claim,
        scope_key=st.sampled_from(["default", "docs"]),
        epoch_key=st.sampled_from(["2026-02-09", "2026-02-16"]),
        epoch_id=st.just(1),
        statement_id=st.just(UUID(int=1)),
        claimant=st.sampled_from([*ACCOUNTS, *USERS]),
        amount_credits=st.integers(0, 100),
    )
)
LINKS = st.dictionaries(
    st.sampled_from([(account.provider, account.external_id) for account in ACCOUNTS]), st.sampled_from(["ada", "new"])
)


def claim(claimant: Claimant, amount_credits: int, epoch_key: str = "2026-02-16") -> Claim:
    return Claim("default", epoch_key, 1, UUID(int=1), claimant, amount_credits)


def amounts(claims: list[Claim], user_of: dict[tuple[str, str], str]) -> dict[str, int]:
    return {holding.holder.key: holding.amount_credits for holding in holdings(claims, user_of)}


def test_an_account_is_reserved_until_it_is_linked_and_the_users_from_then_on() -> None:
    claims = [claim(ACCOUNTS[0], 5), claim(USERS[0], 3), claim(ACCOUNTS[0], 1, "2026-02-09"), claim(ACCOUNTS[1], 0)]
    reserved, held = holdings(claims, {})
    assert (reserved.holder, reserved.is_reserved, reserved.amount_credits) == (ACCOUNTS[0], True, 6)
    assert [stated.epoch_key for stated in reserved.claims] == ["2026-02-09", "2026-02-16"]
    assert (held.holder, held.is_reserved, held.credits_of_accounts) == (USERS[0], False, 0)
    [all_of_it] = holdings(claims, {("github", "1"): "ada"})
    assert (all_of_it.holder, all_of_it.amount_credits, all_of_it.credits_of_accounts) == (USERS[0], 9, 6)


@given(CLAIMS, LINKS, st.randoms())
def test_every_credit_is_held_once_whatever_the_links_and_the_order(
    claims: list[Claim], user_of: dict[tuple[str, str], str], random: Random
) -> None:
    held = holdings(claims, user_of)
    assert sum(holding.amount_credits for holding in held) == sum(stated.amount_credits for stated in claims)
    assert len({holding.holder for holding in held}) == len(held)
    shuffled = list(claims)
    random.shuffle(shuffled)
    assert amounts(shuffled, user_of) == amounts(claims, user_of)


@given(CLAIMS, LINKS, st.sampled_from(ACCOUNTS), st.sampled_from(["ada", "new"]))
def test_linking_unlinking_renaming_and_merging_move_credits_of_that_account_alone(
    claims: list[Claim], user_of: dict[tuple[str, str], str], account: IdentityClaimant, user_id: str
) -> None:
    key = account.provider, account.external_id
    unlinked = {name: user for name, user in user_of.items() if name != key}
    moved = sum(stated.amount_credits for stated in claims if stated.claimant == account)
    before, after = amounts(claims, unlinked), amounts(claims, unlinked | {key: user_id})
    changed = {name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()}
    assert {name: by for name, by in changed.items() if by} == (
        {account.key: -moved, f"user:{user_id}": moved} if moved else {}
    )
