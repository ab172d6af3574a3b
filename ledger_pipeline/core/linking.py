"""The message by which an account at a provider is linked to a user, to the byte, and what is checked of it.

A wallet signs it (EIP-191, `personal_sign`), and an approver or an operator vouches for whose account it is. It names
all that it is good for: a node, a user, an account, a wallet, once, until it expires.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from ledger_pipeline.core.errors import (
    ExpiredLink,
    ForeignLink,
    IdentityError,
    MalformedLink,
    UnprovenLink,
)
from ledger_pipeline.core.identifiers import check_binding, check_id
from ledger_pipeline.core.plain_text import quoted

TITLE = "Ledger Pipeline Account Link v1"
# Whoever finds an old message in public finds one that has expired.
LONGEST_LIFE = timedelta(days=31)
NONCE_BYTES = 16

_LABELS = ("Node", "User", "Provider", "Account", "Login", "Wallet", "Nonce", "Expires")
_LONGEST_LINE = 160
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}", re.ASCII)
_EXPIRY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class WalletMessage(Protocol):
    """A message that a wallet signs: good at one node, once, until it expires (aware, UTC, whole seconds)."""

    @property
    def node_id(self) -> UUID:
        """The node it is good at."""

    @property
    def wallet(self) -> str:
        """The address that signs it."""

    @property
    def nonce(self) -> str:
        """What it is told apart by, and good for once."""

    @property
    def expires_at(self) -> datetime:
        """Until when it is good."""

    def text(self) -> str:
        """The message to the byte."""


@dataclass(frozen=True)
class LinkMessage:
    """What a wallet signs: `account_id` is the provider's own number, `login` its name when the message was made.

    `nonce` is lower-case hex of NONCE_BYTES; `expires_at` aware, UTC, whole seconds.
    """

    node_id: UUID
    user_id: str
    provider: str
    account_id: str
    login: str
    wallet: str
    nonce: str
    expires_at: datetime

    def text(self) -> str:
        """The message to the byte: lines end in a line feed, the last in none."""
        values = (
            *(str(self.node_id), self.user_id, self.provider, self.account_id, self.login, self.wallet, self.nonce),
            expiry_text(self.expires_at),
        )
        return labelled_text(TITLE, _LABELS, values)


def labelled_text(title: str, labels: Sequence[str], values: Sequence[str]) -> str:
    """A message of lines: `title`, then each value behind its label."""
    return "\n".join([title, *(f"{label}: {value}" for label, value in zip(labels, values, strict=True))])


def expiry_text(expires_at: datetime) -> str:
    """An instant as messages spell it."""
    return f"{expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def make_link_message(
    *, node_id: UUID, user_id: str, provider: str, account_id: str, login: str, wallet: str, nonce: str, until: datetime
) -> LinkMessage:
    """The message with these values, `until` cut to whole seconds. Raises IdentityError for what is no id or wallet."""
    message = LinkMessage(
        node_id, user_id, provider, account_id, login, wallet, nonce, until.astimezone(UTC).replace(microsecond=0)
    )
    _check_values(message)
    return message


def read_link_message(text: str) -> LinkMessage:
    """The message that `text` is, to the byte. Raises MalformedLink naming the line."""
    node_id, values = labelled_values(text, TITLE, _LABELS, "identities challenge")
    user_id, provider, account_id, login, wallet, nonce, expiry = values
    message = LinkMessage(node_id, user_id, provider, account_id, login, wallet, nonce, expiry_of(expiry))
    try:
        _check_values(message)
    except MalformedLink:
        raise
    except IdentityError as error:
        raise MalformedLink(f"the message's {error}") from None
    check_spelling(message, text, "identities challenge")
    return message


def labelled_values(text: str, title: str, labels: Sequence[str], command: str) -> tuple[UUID, list[str]]:
    """The node of a message of lines that `command` printed, and the other values. Raises MalformedLink."""
    lines = text.split("\n")
    if lines[0] != title:
        raise MalformedLink(f"the message does not begin with the line {title!r}: take it from `{command}`")
    if len(lines) != 1 + len(labels):
        raise MalformedLink(f"the message has {len(lines)} lines, not {1 + len(labels)}")
    values = []
    for number, (label, line) in enumerate(zip(labels, lines[1:], strict=True), start=2):
        if not line.startswith(f"{label}: "):
            raise MalformedLink(f"line {number} of the message does not begin with {f'{label}: '!r}")
        if len(line) > _LONGEST_LINE:
            raise MalformedLink(f"line {number} of the message has {len(line)} characters, more than any has")
        values.append(line.removeprefix(f"{label}: "))
    node, *others = values
    try:
        return UUID(node), others
    except ValueError:
        raise MalformedLink(f"the message's node {quoted(node)} is no UUID") from None


def check_spelling(message: WalletMessage, text: str, command: str) -> None:
    """Raises MalformedLink where `text` is another spelling of the `message` that was read from it."""
    if message.text() != text:
        raise MalformedLink(f"the message is spelled otherwise than `{command}` prints it")


def check_link(message: WalletMessage, *, node_id: UUID, now: datetime) -> None:
    """Raises ForeignLink where `message` is of another node, ExpiredLink where it is no longer good or too long so."""
    if message.node_id != node_id:
        raise ForeignLink(f"the message is for node {message.node_id}, not for this one, {node_id}: make one here")
    if message.expires_at <= now:
        raise ExpiredLink(f"the message expired at {message.expires_at.isoformat()}: make another")
    if message.expires_at - now > LONGEST_LIFE:
        raise ExpiredLink(
            f"the message is good until {message.expires_at.isoformat()}, and none may be for more than "
            f"{LONGEST_LIFE.days} days: make another"
        )


def check_wallet(message: WalletMessage, signer: str) -> None:
    """Raises UnprovenLink unless `signer`, whom a signature of the message recovers to, is its wallet."""
    if message.wallet.lower() != signer.lower():
        raise UnprovenLink(
            f"the signature is not of the message by wallet {message.wallet}: it recovers to {signer}; sign the "
            "message to the byte, as it was printed"
        )


def _check_values(message: LinkMessage) -> None:
    check_binding(message.provider, message.account_id, message.user_id)
    check_id("login", message.login)
    check_wallet_and_nonce(message)


def check_wallet_and_nonce(message: WalletMessage) -> None:
    """Raises MalformedLink for what is no address and no nonce."""
    if _WALLET.fullmatch(message.wallet) is None:
        raise MalformedLink(f"the wallet {quoted(message.wallet)} is no address: 0x and 40 hex digits")
    if _NONCE.fullmatch(message.nonce) is None:
        raise MalformedLink(f"the nonce {quoted(message.nonce)} is not {2 * NONCE_BYTES} lower-case hex digits")


def expiry_of(text: str) -> datetime:
    """The instant that a message names. Raises MalformedLink."""
    if _EXPIRY.fullmatch(text) is not None:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise MalformedLink(f"the message's expiry {quoted(text)} is no instant in UTC like 2026-12-05T12:00:00Z")
