"""The message by which a user takes no pay, or takes it again, to the byte, and what is checked of it.

The wallet that the user's accounts have shown signs it (EIP-191, `personal_sign`): once, until it expires.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ledger_pipeline.core.errors import IdentityError, MalformedLink
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.identifiers import check_id
from ledger_pipeline.core.linking import (
    check_spelling,
    check_wallet_and_nonce,
    expiry_of,
    expiry_text,
    labelled_text,
    labelled_values,
)
from ledger_pipeline.core.plain_text import quoted

TITLE = "Ledger Pipeline Opt-Out v1"
COMMAND = "identities opt-out-message"
# Who took no pay when an epoch closed, by what the signed hash names them; in its pinned spec only where anybody did.
OPTED_OUT = "opted_out"

_LABELS = ("Node", "User", "Choice", "Wallet", "Nonce", "Expires")
_CHOICES = {True: "no pay", False: "pay again"}
_IS_OPTED_OUT = {choice: opted_out for opted_out, choice in _CHOICES.items()}


@dataclass(frozen=True)
class OptOutMessage:
    """What a wallet signs: whether the user takes no pay from now on. As `core.linking.LinkMessage` otherwise."""

    node_id: UUID
    user_id: str
    is_opted_out: bool
    wallet: str
    nonce: str
    expires_at: datetime

    def text(self) -> str:
        """The message to the byte: lines end in a line feed, the last in none."""
        choice, expiry = _CHOICES[self.is_opted_out], expiry_text(self.expires_at)
        return labelled_text(TITLE, _LABELS, (str(self.node_id), self.user_id, choice, self.wallet, self.nonce, expiry))


def make_opt_out_message(
    *, node_id: UUID, user_id: str, is_opted_out: bool, wallet: str, nonce: str, until: datetime
) -> OptOutMessage:
    """The message with these values, `until` cut to whole seconds. Raises IdentityError for what is no id or wallet."""
    expires_at = until.astimezone(UTC).replace(microsecond=0)
    message = OptOutMessage(node_id, user_id, is_opted_out, wallet, nonce, expires_at)
    check_id("user", user_id)
    check_wallet_and_nonce(message)
    return message


def read_opt_out_message(text: str) -> OptOutMessage:
    """The message that `text` is, to the byte. Raises MalformedLink naming the line."""
    node_id, (user_id, choice, wallet, nonce, expiry) = labelled_values(text, TITLE, _LABELS, COMMAND)
    if choice not in _IS_OPTED_OUT:
        raise MalformedLink(f"the message's choice {quoted(choice)} is neither of {', '.join(_IS_OPTED_OUT)}")
    message = OptOutMessage(node_id, user_id, _IS_OPTED_OUT[choice], wallet, nonce, expiry_of(expiry))
    try:
        check_id("user", user_id)
    except IdentityError as error:
        raise MalformedLink(f"the message's {error}") from None
    check_wallet_and_nonce(message)
    check_spelling(message, text, COMMAND)
    return message


def pinned_opt_outs(pinned: Mapping[str, Json]) -> frozenset[str]:
    """Who took no pay when an epoch closed with the spec `pinned`: they have no units, and the others share all."""
    names = pinned.get(OPTED_OUT)
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()


def paid_in_spite(opted_out: Collection[str], units_milli: Mapping[str, int]) -> list[str]:
    """Who of `opted_out` has units all the same, in code-point order."""
    return sorted(name for name in opted_out if units_milli.get(name, 0) > 0)
