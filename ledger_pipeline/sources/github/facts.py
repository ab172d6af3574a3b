"""GitHub's payloads -> facts beside an event. No network here, and nothing that raises.

What is missing, null where null says nothing, or no such value, is unknown: no fact that cannot be used takes an event
with it. Text is mended and cut as all that people are only shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ledger_pipeline.core.co_authors import author_of_email, co_authors, normalized_email
from ledger_pipeline.core.errors import FactsError
from ledger_pipeline.core.fact_values import (
    LONGEST_TEXT,
    MOST_MEMBERS,
    Reader,
    read_item_name,
    read_sha,
    read_user_id,
)
from ledger_pipeline.core.facts import (
    COMMIT,
    DELETED,
    PERSON,
    PULL_REQUEST,
    Account,
    Closer,
    CoAuthor,
    IssueFacts,
    PullRequestFacts,
    ReviewFacts,
)
from ledger_pipeline.core.storable_text import storable_text

_Value = TypeVar("_Value")


def default_branch(repository: object) -> str | None:
    """The name of a repository's default branch; None where nobody knows it, or it has none."""
    return _text(_at(repository, "defaultBranchRef", "name"))


def pull_request_facts(node: object, default: str | None) -> PullRequestFacts:
    """Facts of a merged pull request, `default` being the repository's default branch."""
    author, merged_by = _author(node), _account(_at(node, "mergedBy"))
    base = _text(_at(node, "baseRefName"))
    return PullRequestFacts(
        author=author,
        base_branch=base,
        head_branch=_text(_at(node, "headRefName")),
        is_base_default=_is_default(base, default),
        merge_commit_sha=_read(read_sha, _at(node, "mergeCommit", "oid")),
        commit_shas=_all(_at(node, "commits"), lambda commit: _read(read_sha, _at(commit, "commit", "oid"))),
        labels=_labels(node),
        is_draft=_flag(_at(node, "isDraft")),
        merged_by=merged_by,
        co_authors=_co_authors(_at(node, "mergeCommit"), author, merged_by),
        closes=_all(_at(node, "closes"), lambda issue: _item_name(issue, "issue")),
        changed_paths=_paths(node),
    )


def facts_of_reviews(node: object, default: str | None) -> ReviewFacts:
    """What the facts of all reviews of a pull request say of it."""
    base = _text(_at(node, "baseRefName"))
    return ReviewFacts(
        pull_request_author=_author(node),
        base_branch=base,
        is_base_default=_is_default(base, default),
        is_merged=_flag(_at(node, "merged")),
        labels=_labels(node),
        changed_paths=_paths(node),
    )


def review_facts(node: object, of_reviews: ReviewFacts) -> ReviewFacts:
    """Facts of a review, `of_reviews` being what they are of its pull request."""
    body = _at(node, "body")
    return replace(of_reviews, has_body=bool(body.strip()) if isinstance(body, str) else None)


def issue_facts(node: object) -> IssueFacts:
    """Facts of a closed issue, by its last closing."""
    closings = _at(node, "timelineItems", "nodes")
    closing = closings[-1] if isinstance(closings, list) and closings else None
    closed_by = _account(_at(closing, "actor"))
    return IssueFacts(
        closed_by=closed_by,
        closer=_closer(closing, closed_by),
        state_reason=_text(_at(node, "stateReason")),
        labels=_labels(node),
    )


def _co_authors(commit: object, author: Account | None, merged_by: Account | None) -> tuple[CoAuthor, ...] | None:
    """Who else wrote the merge commit: its git author and whom its message names.

    Neither the pull request's author nor whoever merged it, who is the author of a commit that only merges.
    """
    message, email = _at(commit, "message"), _at(commit, "author", "email")
    if not isinstance(message, str):
        return None
    who = _read(read_user_id, _number_text(_at(commit, "author", "user", "databaseId")))
    by_email = author_of_email(email) if isinstance(email, str) and normalized_email(email) else None
    others = {CoAuthor(id=account.id) for account in (author, merged_by) if account is not None and account.id}
    git_author = by_email if who is None else CoAuthor(id=who)
    if git_author in others and by_email is not None:
        others.add(by_email)  # a trailer may name the same person by the e-mail
    named = ((git_author,) if git_author is not None else ()) + co_authors(message)
    return tuple(co_author for co_author in named if co_author not in others)[:MOST_MEMBERS]


def _closer(closing: object, closed_by: Account | None) -> Closer | None:
    if not isinstance(closing, Mapping) or "closer" not in closing:
        return None
    closer = closing["closer"]
    if closer is None:
        return None if closed_by is None else Closer(PERSON)
    match _at(closer, "__typename"):
        case "PullRequest":
            return Closer(PULL_REQUEST, _item_name(closer, "pullRequest"))
        case "Commit":
            return Closer(COMMIT, _read(read_sha, _at(closer, "oid")))
    return None


def _author(node: object) -> Account | None:
    """Who wrote it. GitHub answers null for an account that was deleted since."""
    if isinstance(node, Mapping) and "author" in node and node["author"] is None:
        return Account(type=DELETED)
    return _account(_at(node, "author"))


def _account(node: object) -> Account | None:
    type_ = _text(_at(node, "__typename"))
    if type_ is None:
        return None
    user_id = _read(read_user_id, _number_text(_at(node, "databaseId")))
    return Account(id=user_id, login=_text(_at(node, "login")), type=type_)


def _is_default(base: str | None, default: str | None) -> bool | None:
    return None if base is None or default is None else base == default


def _labels(node: object) -> tuple[str, ...] | None:
    return _all(_at(node, "labels"), lambda label: _text(_at(label, "name")))


def _paths(node: object) -> tuple[str, ...] | None:
    """The paths that a pull request changes; None where there are more of them than were asked for."""
    if _at(node, "files", "pageInfo", "hasNextPage") is not False:
        return None
    return _all(_at(node, "files"), lambda file: _text(_at(file, "path")))


def _item_name(node: object, key: str) -> str | None:
    repository, number = _at(node, "repository", "nameWithOwner"), _number_text(_at(node, key))
    return _read(read_item_name, f"{repository}#{number}") if isinstance(repository, str) and number else None


def _all(connection: object, read_one: Callable[[Any], _Value | None]) -> tuple[_Value, ...] | None:
    """What `read_one` gives of every node; None where there is no list, or a node is no such."""
    nodes = _at(connection, "nodes")
    if not isinstance(nodes, list) or len(nodes) > MOST_MEMBERS:
        return None
    values = [read_one(node) for node in nodes]
    values_given = [value for value in values if value is not None]
    return tuple(values_given) if len(values_given) == len(values) else None


def _at(value: object, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return (storable_text(value[:LONGEST_TEXT]) or None) if isinstance(value, str) else None


def _number_text(value: object) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _read(reader: Reader[_Value], value: object) -> _Value | None:
    try:
        return reader(value, "")
    except FactsError:
        return None
