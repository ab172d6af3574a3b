"""A secret that the process knows is in nothing that is shown, however it is encoded or cut."""

import base64
import html
import json
import quopri
import textwrap
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
        SECRET.encode().hex(":"),
        SECRET.encode().hex("-").upper(),
        ", ".join(f"0x{byte:02x}" for byte in SECRET.encode()),
        base64.b64encode(html.escape(SECRET).encode()).decode(),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(),
        base64.b64encode(SECRET.encode("utf-16")).decode(),
        base64.b64encode(SECRET.encode("utf-16-be")).decode(),
        quote(base64.b64encode(SECRET.encode()).decode(), safe=""),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
        "".join(f"%{byte:02x}" for byte in SECRET.encode()),
        "".join(f"%{byte:02X}" for byte in SECRET.encode()),
        "".join(f"&#{ord(character)};" for character in SECRET),
        "".join(f"&#x{ord(character):X};" for character in SECRET),
        "".join(f"&#{ord(character):07};" for character in SECRET),
        "".join(f"\\u{ord(character):04x}" for character in SECRET),
        json.dumps("".join(f"\\u{ord(character):04x}" for character in SECRET)),
        "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
        "".join(f"\\{byte:03o}" for byte in SECRET.encode()),
        "".join(f"\\u{{{ord(character):x}}}" for character in SECRET),
        "".join(f"%u{ord(character):04X}" for character in SECRET),
        ascii(SECRET),
        repr(SECRET.encode()),
        SECRET.replace("/", "&sol;").replace("+", "&plus;").replace("&", "&amp;"),
        quopri.encodestring(SECRET.encode(), quotetabs=True).decode(),
        "=\r\n".join(f"={byte:02X}" for byte in SECRET.encode()),
        quote(html.escape(json.dumps(SECRET)), safe=""),
    ],
)
def test_a_secret_is_withheld_in_each_of_its_encodings(encoded: str) -> None:
    assert encoded not in without_secrets(f"401 for {encoded}, sorry")
    assert WITHHELD in without_secrets(f"401 for {encoded}, sorry")


TOKEN = "t0ken-with.parts/of+75=characters_" + "Zx9" * 14
WAYS: list[Callable[[str], str]] = [
    str,
    lambda character: f"%{ord(character):02x}",
    lambda character: f"%{ord(character):02X}",
    lambda character: f"&#{ord(character)};",
    lambda character: f"&#x{ord(character):x};",
    lambda character: f"\\u{ord(character):04X}",
    lambda character: f"\\x{ord(character):02x}",
    lambda character: f"%25{ord(character):02x}",
]


@given(ways=st.lists(st.sampled_from(WAYS), min_size=len(TOKEN), max_size=len(TOKEN)), around=st.text(max_size=9))
def test_a_secret_is_withheld_whichever_of_its_characters_are_encoded(
    ways: list[Callable[[str], str]], around: str
) -> None:
    keep_secret(TOKEN)
    around = "".join(character for character in around if character not in "%&\\#;=")
    encoded = "".join(way(character) for way, character in zip(ways, TOKEN, strict=True))
    assert without_secrets(f"{around} {encoded} {around}") == f"{around} {WITHHELD} {around}"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\\n", "\\r\\n", "\\\\n", "%0a", "&#10;", " ", "\n    "])
@pytest.mark.parametrize(
    "encoded",
    [
        base64.encodebytes(f"the user:{TOKEN * 3}".encode()).decode().replace("\n", ""),
        base64.urlsafe_b64encode(TOKEN.encode() * 3).decode(),
        (TOKEN.encode() * 3).hex(),
        TOKEN * 3,
    ],
    ids=["base64", "urlsafe base64", "hex", "plain"],
)
def test_a_secret_is_withheld_across_the_ends_of_lines(encoded: str, line_end: str) -> None:
    keep_secret(TOKEN)
    shown = without_secrets(f"it said: {line_end.join(textwrap.wrap(encoded, 76, break_on_hyphens=False))}.")
    assert shown.count(WITHHELD) == 3
    assert len(shown) < 90


def test_what_stands_around_a_secret_stays_as_it_was() -> None:
    shown = without_secrets(f"100%25 of \\u0041 & {quote(SECRET)} \N{EURO SIGN}\ud800 &amp; a=41 \\n")
    assert shown == f"100%25 of \\u0041 & {WITHHELD} \N{EURO SIGN}\ud800 &amp; a=41 \\n"


@given(st.text(st.characters(codec=None), max_size=40), st.integers(0, 50))
def test_the_first_characters_alone_are_asked_for(text: str, characters: int) -> None:
    shown = without_secrets(text + SECRET + text, characters)
    assert shown == ((text + SECRET + text)[:characters] if characters <= len(text) else shown)
    assert shown.startswith(text[:characters])
    assert shown in {text[:characters], text + WITHHELD + text[: max(0, characters - len(text + SECRET))]}


def test_a_long_secret_that_is_cut_leaves_no_part_of_itself() -> None:
    key = "MIIEpAIBAAKCAQEA" + "q7" * 900
    keep_secret(key)
    assert "q7" not in plain_message(key * 20, 300)
    entities = "".join(f"&#{ord(character)};" for character in SECRET)
    assert "&#" not in plain_message(entities * 200, 300)


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
        ("HTTPS://token@host", f"HTTPS://{WITHHELD}@host"),
        ("Http://token@host", f"Http://{WITHHELD}@host"),
        ("postgresql+psycopg://ledger:pw@db:5432/ledger", f"postgresql+psycopg://{WITHHELD}@db:5432/ledger"),
        ("postgresql://ledger@db/ledger", "postgresql://ledger@db/ledger"),
        ("postgresql://db/ledger?user=a&password=pw", f"postgresql://db/ledger?user=a&password={WITHHELD}"),
        ("postgresql://db/l?password=pw&user=a", f"postgresql://db/l?password={WITHHELD}&user=a"),
        ("postgresql://db/l?PassWord=p%20w&user=a", f"postgresql://db/l?PassWord={WITHHELD}&user=a"),
        ("host=db user=a password='p w' port=1", f"host=db user=a password={WITHHELD} port=1"),
        ("https://host/file?token=abc&page=2", f"https://host/file?token={WITHHELD}&page=2"),
        ("https://host/file?page=2&amp;sig=abc", f"https://host/file?page=2&amp;sig={WITHHELD}"),
        ("postgresql://ada:p@ss@db/l", f"postgresql://{WITHHELD}@db/l"),
        ("https%3A%2F%2Fada%3Apw%40host%2F", f"https%3A%2F%2F{WITHHELD}%40host%2F"),
        ("https:\\/\\/ada:pw@host", f"https:\\/\\/{WITHHELD}@host"),
        (f"https://ada:{'p' * 5000}@host", f"https://{WITHHELD}@host"),
        ("https://ada:p/ss@host/api", f"https://{WITHHELD}@host/api"),
        ("postgresql://ada:p?a/s#s@db/l", f"postgresql://{WITHHELD}@db/l"),
        ("https://host/users/@ada", "https://host/users/@ada"),
        ("https://host:8443/users/@ada", "https://host:8443/users/@ada"),
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
        "eyJhbGciOiJSUzI1NiJ9%2EeyJpc3MiOjF9%2Ec2ln-_",
        "&#103;hp_" + "a1B2" * 9,
    ],
)
def test_what_looks_like_a_token_of_githubs_is_withheld_although_nobody_named_it(token: str) -> None:
    assert without_secrets(f"Bearer {token}!") == f"Bearer {WITHHELD}!"


@given(st.text())
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    if "://" not in text:
        assert without_secrets(text) == text
