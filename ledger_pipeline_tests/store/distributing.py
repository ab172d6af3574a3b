"""Distributions in a real ledger: wallets that an approver signed for, and a build of an epoch in one line each."""

from collections.abc import Sequence

from ledger_pipeline.pipeline.distribution import Built, Token, build
from ledger_pipeline.pipeline.payout_wallets import list_message, set_wallets
from ledger_pipeline_tests.store.settlement import APPROVER, Books, Wallet

# With and without letters in it, each with its checksum.
ADAS, GRACES = "0x17907AB670C927E23129E65F774C4b14886e61EB", "0x2222222222222222222222222222222222222222"
TOKEN = Token(84532, "0x4200000000000000000000000000000000000042")
ADA_KEY, GRACE_KEY = "user:user-ada", "user:user-grace"
WHOLE = 10**21 + 7


def give_wallets(books: Books, by: Wallet = APPROVER, reason: str = "they said so", **wallets: str) -> None:
    """Have an approver sign for wallets, by users' ids with underlines."""
    given = {f"user:{user.replace('_', '-')}": wallet for user, wallet in wallets.items()}
    number = books.ledger.payout_wallets.next_number()
    message = list_message(books.ledger.node_id, books.scope, number, reason, given)
    set_wallets(books.ledger, books.scope, given, reason, by.sign(message))


def distributed(books: Books, amount: int | None = WHOLE, token: Token = TOKEN, also: Sequence[Books] = ()) -> Built:
    return build(books.ledger, books.scope, [row.epoch for row in (books, *also)], token, amount)


def paid(made: Built) -> dict[str, tuple[int, str]]:
    """Amount and wallet by claimant."""
    return {leaf.paid.claimant_key: (leaf.amount, leaf.paid.account) for leaf in made.distribution.leaves}


def held(made: Built) -> dict[str, int]:
    """Amounts that wait, by claimant."""
    return {row.claimant_key: row.amount for row in made.held_back}
