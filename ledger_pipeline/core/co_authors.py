"""Who else wrote a commit, by the `Co-authored-by` trailers of its message, read as git reads trailers.

Trailers are lines `Token: value` in a message's last paragraph, never in its first one, which is the title. The
paragraph has to be of trailers alone, or hold one that git itself writes (`Signed-off-by: `) and be trailers for a
quarter. A line that begins with white space goes on with the one before; one that begins with `#` is a comment.
"""

import re
from collections.abc import Iterator
from hashlib import sha256

from ledger_pipeline.core.facts import CoAuthor
from ledger_pipeline.core.storable_text import storable_text

_TRAILER = re.compile(r"([A-Za-z0-9-]+)[ \t]*:(.*)", re.DOTALL)
_WRITTEN_BY_GIT = ("Signed-off-by: ", "(cherry picked from commit ")
_SPACES = " \t\n\v\f\r"
_CO_AUTHORED_BY = "co-authored-by"
_EMAIL = re.compile(r"<([^<>]*)>")
_NO_REPLY = re.compile(r"([1-9][0-9]{0,18})\+[^@\s]+@users\.noreply\.github\.com")


def co_authors(message: str) -> tuple[CoAuthor, ...]:
    """Who the message names, each once, in its order. A trailer without an e-mail in `<>` names nobody."""
    named = (value for token, value in trailers(message) if token.lower() == _CO_AUTHORED_BY)
    emails = (email for value in named for email in _EMAIL.findall(value)[-1:] if normalized_email(email))
    return tuple(dict.fromkeys(map(author_of_email, emails)))


def author_of_email(email: str) -> CoAuthor:
    """The account that GitHub made the e-mail for (`id+login@users.noreply.github.com`), else the hash of the e-mail.

    The hash is SHA-256 of the UTF-8 bytes of `normalized_email`: whoever has the e-mail can prove that it is theirs,
    and nobody reads it in a public archive.
    """
    normalized = normalized_email(email)
    made_by_github = _NO_REPLY.fullmatch(normalized)
    if made_by_github is not None:
        return CoAuthor(id=made_by_github[1])
    return CoAuthor(email_hash=sha256(normalized.encode()).hexdigest())


def normalized_email(email: str) -> str:
    """The e-mail without white space at its ends, in lower case: GitHub knows no difference of case in one."""
    return storable_text(email).strip().lower()


def trailers(message: str) -> list[tuple[str, str]]:
    """The message's trailers, token and value each, as `git interpret-trailers --parse --no-divider` lists them."""
    return [
        (trailer[1], " ".join(trailer[2].split()))
        for line in _unfolded(_last_paragraph(message.split("\n")))
        if (trailer := _TRAILER.match(line)) is not None
    ]


def _last_paragraph(lines: list[str]) -> list[str]:
    """The lines of the message's trailers; none where its last paragraph is no such, or is the title."""
    end_of_title = next((n for n, line in enumerate(lines) if not _is_comment(line) and _is_blank(line)), len(lines))
    trailer_lines = other_lines = continuations = 0
    has_one_of_git = has_begun = False
    for number in range(len(lines) - 1, end_of_title - 1, -1):
        line = lines[number]
        if _is_comment(line):
            other_lines, continuations = other_lines + continuations, 0
        elif _is_blank(line):
            if has_begun:
                other_lines += continuations
                is_for_a_quarter = has_one_of_git and trailer_lines * 3 >= other_lines
                are_alone = trailer_lines > 0 and other_lines == 0
                return lines[number + 1 :] if is_for_a_quarter or are_alone else []
        else:
            has_begun = True
            is_of_git = line.startswith(_WRITTEN_BY_GIT)
            if is_of_git or _TRAILER.match(line):
                trailer_lines, continuations = trailer_lines + 1, 0
                has_one_of_git = has_one_of_git or is_of_git
            elif line[0] in _SPACES:
                continuations += 1
            else:
                other_lines, continuations = other_lines + 1 + continuations, 0
    return []


def _unfolded(lines: list[str]) -> Iterator[str]:
    """Trailers with the lines that go on with them."""
    trailer: str | None = None
    for line in lines:
        if trailer is not None and line and line[0] in _SPACES and not _is_blank(line):
            trailer += f"\n{line}"
            continue
        if trailer is not None:
            yield trailer
        trailer = line if _TRAILER.match(line) and not _is_comment(line) else None
    if trailer is not None:
        yield trailer


def _is_comment(line: str) -> bool:
    return line.startswith("#")


def _is_blank(line: str) -> bool:
    return not line.strip(_SPACES)
