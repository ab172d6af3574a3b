"""Co-authors of a commit: trailers as git reads them, and e-mails that nobody can read afterwards."""

import shutil
import subprocess
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_pipeline.core.co_authors import author_of_email, co_authors, trailers
from ledger_pipeline.core.facts import CoAuthor

GIT = shutil.which("git")


def hashed(email: str) -> CoAuthor:
    return CoAuthor(email_hash=sha256(email.encode()).hexdigest())


def test_an_account_is_known_by_the_e_mail_that_github_made_for_it() -> None:
    assert author_of_email("583231+ada@users.noreply.github.com") == CoAuthor(id="583231")
    assert author_of_email(" 49699333+Dependabot[bot]@USERS.noreply.github.com ") == CoAuthor(id="49699333")


@pytest.mark.parametrize(
    "email",
    [
        "ada@users.noreply.github.com",
        "0583231+ada@users.noreply.github.com",
        "583231+ada@users.noreply.github.com.example.org",
        "583231+ada@b@users.noreply.github.com",
        "583231+ada@users-noreply.github.com",
        "ada@example.org",
    ],
)
def test_any_other_e_mail_is_hashed(email: str) -> None:
    assert author_of_email(email) == hashed(email)


def test_case_and_space_make_no_other_author() -> None:
    assert author_of_email(" Ada@Example.ORG\t") == author_of_email("ada@example.org") == hashed("ada@example.org")


def test_the_trailers_of_a_squashed_pull_request_are_read() -> None:
    message = (
        "Count reviews once (#12)\n\n* a first commit\n\nCo-authored-by: not here <x@example.org>\n\n---------\n\n"
        "Co-authored-by: Ada <583231+ada@users.noreply.github.com>\nco-AUTHORED-by: Bo <bo@example.org>\r\n"
        "Co-authored-by: Bo again <BO@example.org>\nCo-authored-by: nobody\nSigned-off-by: Cy <cy@example.org>\n\n"
    )
    assert co_authors(message) == (CoAuthor(id="583231"), hashed("bo@example.org"))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Co-authored-by: Ada <ada@example.org>",
        "A title\nCo-authored-by: Ada <ada@example.org>",
        "A title\n\nCo-authored-by: Ada <ada@example.org>\n\nThat was it.",
        "A title\n\nBy the way:\nit was not me alone\nCo-authored-by: Ada <ada@example.org>",
        "A title\n\n Co-authored-by: Ada <ada@example.org>",
        "A title\n\nCo-authored-by: Ada <>",
        "A title\n\nCo-authored-by: Ada ada@example.org",
    ],
)
def test_what_is_no_trailer_names_nobody(message: str) -> None:
    assert co_authors(message) == ()


def test_a_paragraph_with_a_line_of_gits_own_may_hold_other_lines() -> None:
    message = "A title\n\nsome text\nSigned-off-by: Cy <cy@example.org>\nCo-authored-by: Ada\n <ada@example.org>"
    assert co_authors(message) == (hashed("ada@example.org"),)


def test_characters_that_nobody_can_store_are_no_error() -> None:
    assert len(co_authors("A title\n\nCo-authored-by: \ud800 <\ud800@example.org>")) == 1


LINES = st.sampled_from(
    [
        "",
        "  ",
        "A title",
        "some text",
        "# a comment",
        "Co-authored-by: Ada <ada@example.org>",
        "co-authored-by:Bo <bo@example.org>",
        "Key : a  value",
        "Key:",
        ": no key",
        " and so on",
        "\tCo-authored-by: Cy <cy@example.org>",
        "Signed-off-by: Di <di@example.org>",
        "(cherry picked from commit 0123)",
        "http://example.org",
        "two words: value",
    ]
)


@pytest.mark.skipif(GIT is None, reason="git is not installed")
@settings(max_examples=150)
@given(st.lists(LINES, max_size=9))
def test_trailers_are_those_that_git_reads(lines: list[str]) -> None:
    message = "\n".join(["A title", *lines, ""])
    parse = [str(GIT), "interpret-trailers", "--parse", "--no-divider"]
    parsed = subprocess.run(parse, input=message, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [f"{token}: {value}".strip() for token, value in trailers(message)] == [
        " ".join(line.split()) for line in parsed
    ]
