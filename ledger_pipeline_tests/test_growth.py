"""Whatever reads text from outside takes time in proportion to it: eight times the text, never sixty times the time."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from ledger_pipeline.core.errors import EventError, WrongSignature
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.identifiers import broken_ids, is_ambiguous, lookalikes, why_not_an_account
from ledger_pipeline.core.known_secrets import keep_secret, without_secrets
from ledger_pipeline.core.plain_text import as_markdown, plain_lines, plain_message, plain_text
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.stored_json import read_json
from ledger_pipeline.temporal_bridge.connection import plain_status
from ledger_pipeline.temporal_bridge.pollers import _IDENTITY

SECRET = "one-marked-secret/+of this=process"
SHORT, TIMES = 3_000, 8
# Quadratic would be TIMES squared. Below so many seconds of processor time nothing is told from noise.
MOST_TIMES, NOISE_SECONDS = 24, 0.02

READERS: dict[str, Callable[[str], object]] = {
    "without_secrets": without_secrets,
    "plain_text": plain_text,
    "plain_text, bounded": lambda text: plain_text(text, 300),
    "plain_message": plain_message,
    "plain_message, bounded": lambda text: plain_message(text, 300),
    "plain_lines": plain_lines,
    "read_json": lambda text: read_json("[" * 40 + text),
    "as_markdown": as_markdown,
    "plain_status": lambda text: plain_status(RuntimeError(text)),
    "who answers": _IDENTITY.search,
    "is_ambiguous": is_ambiguous,
    "broken_ids": lambda text: list(broken_ids({"user": [text]})),
    "lookalikes": lambda text: lookalikes([text, text + "a"]),
    "parse_instant": parse_instant,
    "canonical_signature": canonical_signature,
    "why_not_an_account": lambda text: why_not_an_account("github", text),
}
SEEDS = {
    "-": "-",
    "spaces": " ",
    "tabs": "\t",
    "spaces of many kinds": " \u2003\u00a0",
    "quotes": '"',
    "escaped quotes": '\\"',
    "backslashes": "\\",
    "brackets": "[{",
    "digits": "1",
    "colons and digits": ":1",
    "signed tokens": "eyJ-",
    "dotted signed tokens": "eyJ.",
    "parts of signed tokens": "a.eyJ",
    "tokens": "ghp_",
    "long tokens": "github_pat_aaaaaaaaaaaaaaaaaaaaa-",
    "addresses": "https://",
    "logins": "://a:",
    "logins without an end": "x:",
    "ats": "@",
    "passwords": "password='",
    "queries": "&token=",
    "percent": "%",
    "percent, twice": "%25",
    "percent bytes": "%41",
    "entities": "&#",
    "numbered entities": "&#65;",
    "named entities": "&amp;",
    "unicode escapes": "\\u0041",
    "halves of characters": "\\ud800",
    "soft line breaks": "=\n",
    "base64": "QUJD",
    "a secret": SECRET,
    "parts of a secret": SECRET[:-1],
    "accents": "a\u0301",
    "marks in no order": "\u0301\u0323",
    "marks in order": "\u0301",
    "hangul": "\u1100\u1161",
    "statuses": 'Status { code: a, message: "',
    "statuses with words": "Status { code: ",
    "identities": " node=00000000-0000-0000-0000-000000000000 scopes=0",
    "markdown": "_*",
    "zeros": "0",
    "instants": "2026-01-01T00:00:00.0",
    "line ends": " \n ",
}


def seconds(reader: Callable[[str], object], text: str) -> float:
    began_at = time.thread_time()
    with suppress(EventError, WrongSignature):  # it is none of what is read: said in no time as well
        reader(text)
    return time.thread_time() - began_at


@pytest.mark.e2e  # seconds of processor time for each
@pytest.mark.parametrize("name", READERS)
def test_the_time_to_read_a_text_grows_as_the_text_does(name: str) -> None:
    keep_secret(SECRET)
    reader = READERS[name]
    for seed, repeated in SEEDS.items():
        text = repeated * (SHORT // len(repeated))
        for before in ("", '"'):
            longer = seconds(reader, (before + text) * TIMES)
            if longer > NOISE_SECONDS:
                short = min(seconds(reader, before + text) for _ in range(3))
                longer = min(longer, *(seconds(reader, before + text * TIMES) for _ in range(2)))
                assert longer < max(MOST_TIMES * short, NOISE_SECONDS), f"{seed} after {before!r}"
