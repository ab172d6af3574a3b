"""A secret that the process knows is in nothing that is shown, however it is encoded or cut."""

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_pipeline.core import known_secrets
from ledger_pipeline.core.errors import LedgerError, SourceRefused
from ledger_pipeline.core.known_secrets import WITHHELD, keep_secret, without_secrets
from ledger_pipeline.core.plain_text import plain_lines, plain_message, plain_text

SECRET = "s3cr3t/+token &\N{EURO SIGN}\\é"


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_secrets, "_KNOWN", known_secrets._KnownSecrets())
    keep_secret(SECRET)


@pytest.mark.parametrize(
    "encoded",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower(),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(quote(SECRET, safe=""), safe=""),
        json.dumps(json.dumps(SECRET))[3:-3],
        json.dumps(SECRET).replace("&", "\\u0026"),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        quote(base64.b64encode(SECRET.encode()).decode(), safe=""),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
    ],
)
def test_a_secret_is_withheld_in_each_of_its_encodings(encoded: str) -> None:
    assert encoded not in without_secrets(f"401 for {encoded}, sorry")
    assert WITHHELD in without_secrets(f"401 for {encoded}, sorry")


def test_a_long_message_is_looked_through_in_no_time() -> None:
    keep_secret(*(f"another-secret-{number:04}/+{number * 7919:x}" for number in range(10)))
    began_at = time.process_time()
    without_secrets("a server's answer, and more of it / " * 30_000)
    assert time.process_time() - began_at < 2


@given(before=st.binary(max_size=12), after=st.binary(max_size=12))
def test_a_secret_inside_a_longer_base64_text_is_withheld(before: bytes, after: bytes) -> None:
    shown = without_secrets(base64.b64encode(before + SECRET.encode() + after).decode())
    assert WITHHELD in shown
    # What is left holds less than the four characters next to each end.
    assert len(shown) - len(WITHHELD) <= len(base64.b64encode(before + after)) + 4


@pytest.mark.parametrize("show", [plain_text, plain_message, plain_lines, lambda text: str(LedgerError(text))])
def test_whatever_shows_a_text_withholds_its_secrets(show: Callable[[str], str]) -> None:
    assert show(f"it said {SECRET} twice: {SECRET}") == f"it said {WITHHELD} twice: {WITHHELD}"


@given(padding=st.integers(0, 400))
def test_no_part_of_a_secret_is_left_where_a_message_is_cut(padding: int) -> None:
    keep_secret("ghp-marked-token")
    shown = str(SourceRefused("github", "acme/notes", "x" * padding + "ghp-marked-token" * 3))
    assert "ghp-" not in shown
    assert "marked" not in shown


def test_a_key_of_several_lines_is_withheld_line_by_line() -> None:
    keep_secret("-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nshort\n-----END KEY-----")
    assert without_secrets("the line MIIEpAIBAAKCAQEA is bad") == f"the line {WITHHELD} is bad"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:pw@host/api", f"https://{WITHHELD}@host/api"),
        ("https://token@host", f"https://{WITHHELD}@host"),
        ("postgresql+psycopg://ledger:pw@db:5432/ledger", f"postgresql+psycopg://{WITHHELD}@db:5432/ledger"),
        ("postgresql://ledger@db/ledger", "postgresql://ledger@db/ledger"),
        ("https://host/users/@ada", "https://host/users/@ada"),
    ],
)
def test_what_a_url_logs_in_with_is_withheld(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9,
        "ghs_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 16,
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOjF9.c2ln-_",
    ],
)
def test_what_looks_like_a_token_of_githubs_is_withheld_although_nobody_named_it(token: str) -> None:
    assert without_secrets(f"Bearer {token}!") == f"Bearer {WITHHELD}!"


@given(st.text())
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    if "://" not in text:
        assert without_secrets(text) == text
