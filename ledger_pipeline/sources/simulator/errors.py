"""GraphQL errors as GitHub words them: a `type` beside message, path and locations, always with HTTP 200."""

from collections.abc import Iterable
from typing import Any

from graphql import GraphQLError


class GitHubError(Exception):
    """An error with one of GitHub's types; where it is raised, the answer has null."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_


def not_found(kind: str, what: str) -> GitHubError:
    """GitHub's answer for what is not there, or not for you."""
    return GitHubError("NOT_FOUND", f"Could not resolve to {kind} {what}.")


def as_github_writes(errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
    """The `errors` list of an answer."""
    return [_one(error) for error in errors]


def _one(error: GraphQLError) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if isinstance(error.original_error, GitHubError):
        written["type"] = error.original_error.type
    if error.path is not None:
        written["path"] = error.path
    if error.locations:
        written["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return {**written, "message": error.message}
