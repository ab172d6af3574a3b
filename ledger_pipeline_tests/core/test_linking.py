"""The message that links an account is read back from its own bytes alone, and is good for one node and a time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core.errors import ExpiredLink, ForeignLink, IdentityError, LinkError, MalformedLink, UnprovenLink
from ledger_pipeline.core.linking import (
    LONGEST_LIFE,
    LinkMessage,
    check_link,
    check_wallet,
    make_link_message,
    read_link_message,
)

NODE = UUID(int=7)
NOW = datetime(2026, 11, 28, tzinfo=UTC)
WALLET = "0x" + "aB" * 20
TEXT = f"""Ledger Pipeline Account Link v1
Node: 00000000-0000-0000-0000-000000000007
User: ada
Provider: github
Account: 1204871
Login: ana-lindqvist
Wallet: {WALLET}
Nonce: 0123456789abcdef0123456789abcdef
Expires: 2026-12-05T00:00:00Z"""


def made(user_id: str = "ada", until: datetime = NOW + timedelta(days=7)) -> LinkMessage:
    return make_link_message(
        node_id=NODE,
        user_id=user_id,
        provider="github",
        account_id="1204871",
        login="ana-lindqvist",
        wallet=WALLET,
        nonce="0123456789abcdef" * 2,
        until=until,
    )


def test_the_message_is_this_to_the_byte() -> None:
    assert made().text() == TEXT
    assert read_link_message(TEXT) == made()


@given(st.text(max_size=130), st.datetimes(datetime(2026, 1, 1), datetime(2900, 1, 1)))  # noqa: DTZ001
def test_what_is_made_is_read_back_and_what_is_not_is_refused_shortly(user_id: str, until: datetime) -> None:
    try:
        message = made(user_id, until.replace(tzinfo=UTC))
    except IdentityError:
        return
    assert read_link_message(message.text()) == message


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("Link v1", "Link v2", "does not begin with the line"),
        ("\nLogin: ana-lindqvist", "", "has 8 lines, not 9"),
        ("User: ", "user: ", "line 3 of the message does not begin with 'User: '"),
        ("00000000-0000-0000-0000-000000000007", "7", "is no UUID"),
        ("Account: 1204871", "Account: ana", "github's numeric id"),
        ("User: ada", "User: a:b", "the message's user 'a:b' has a colon"),
        (WALLET, "0x12", "is no address"),
        ("0123456789abcdef0", "", "is not 32 lower-case hex digits"),
        ("Z", "+00:00", "is no instant in UTC"),
        ("2026-12-05", "2026-13-05", "is no instant in UTC"),
        ("Node: 0", "Node: {0", "spelled otherwise"),
        ("000000000007", "000000000007 ", "no UUID"),
        ("User: ada", "User: " + "\u202e" * 5000, "line 3 of the message has 5006 characters"),
        ("Login: ana", "Login: \x1b]0;", "which shows nothing or breaks lines"),
        ("Wallet: 0x", "Wallet: " + "\x1b]0;" * 500, "line 7 of the message has 2048 characters"),
    ],
    ids=range(15),
)
def test_any_other_text_is_refused_with_what_is_wrong_in_few_plain_characters(
    before: str, after: str, problem: str
) -> None:
    assert before in TEXT
    with pytest.raises(MalformedLink, match=problem) as refused:
        read_link_message(TEXT.replace(before, after, 1))
    assert len(str(refused.value)) <= 300
    assert str(refused.value).isprintable()


@given(st.text() | st.integers(0, len(TEXT) - 1).map(lambda place: TEXT[:place] + "~" + TEXT[place + 1 :]))
def test_whatever_it_is_given_it_reads_its_own_bytes_or_refuses(text: str) -> None:
    problem = ""
    try:
        assert read_link_message(text).text() == text
    except LinkError as refused:
        problem = str(refused)
    assert len(problem) <= 300


def test_it_is_good_for_one_node_and_until_it_expires() -> None:
    check_link(made(), node_id=NODE, now=NOW)
    with pytest.raises(ForeignLink, match="not for this one"):
        check_link(made(), node_id=UUID(int=8), now=NOW)
    with pytest.raises(ExpiredLink, match=r"expired at 2026-12-05T00:00:00\+00:00: make another"):
        check_link(made(), node_id=NODE, now=NOW + timedelta(days=7))
    check_link(made(until=NOW + LONGEST_LIFE), node_id=NODE, now=NOW)
    with pytest.raises(ExpiredLink, match="none may be for more than 31 days"):
        check_link(made(until=NOW + LONGEST_LIFE + timedelta(seconds=1)), node_id=NODE, now=NOW)


def test_it_is_signed_by_its_wallet_in_any_case() -> None:
    check_wallet(made(), WALLET.lower())
    with pytest.raises(UnprovenLink, match="it recovers to 0x12"):
        check_wallet(made(), "0x12")
