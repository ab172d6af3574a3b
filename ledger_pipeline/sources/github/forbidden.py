"""What the credentials may not read of a repository: a fine-grained token may lack one permission and have the other.

GitHub then answers the whole repository with null, and says in its errors which connection was the cause.
"""

from collections.abc import Sequence

from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.sources.github.answer import Answer
from ledger_pipeline.sources.github.asking import is_of_a_node
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.failed_tries import is_limit, quoted

MESSAGE_CHARACTERS = 300

# What a query names, and the connection that is meant.
_CONNECTIONS = {"pullRequests": "pullRequests", "issues": "issues", "allIssues": "issues"}
_NAMES = {"pullRequests": "pull requests", "issues": "issues"}
_PERMISSIONS = {"pullRequests": "Pull requests: read", "issues": "Issues: read"}


def is_of_a_part(error: GraphQLError) -> bool:
    """Whether an item has the error, or it says that a connection is forbidden."""
    return is_of_a_node(error) or _connection_of(error) is not None


def forbidden_connections(answer: Answer) -> dict[str, str]:
    """The connections that the answer says are forbidden, by name, and GitHub's message on each."""
    return {connection: error.message for error in answer.errors if (connection := _connection_of(error)) is not None}


def refusal(connections: Sequence[str], source_scope: str, message: str) -> str:
    """What to do about these connections, all forbidden with GitHub's `message`."""
    what = " and ".join(_NAMES[connection] for connection in connections)
    permissions = " and ".join(f'"{_PERMISSIONS[connection]}"' for connection in connections)
    problem = (
        f"the credentials may not read the {what} of {source_scope}: give them the permission {permissions} "
        f"({quoted(message)})"
    )
    return plain_message(problem, MESSAGE_CHARACTERS)


def _connection_of(error: GraphQLError) -> str | None:
    """The connection that the error forbids. A limit forbids nothing, whatever it calls itself."""
    if is_limit(error) or error.type != "FORBIDDEN" or len(error.path) != 2 or error.path[0] != "repository":
        return None
    return _CONNECTIONS.get(str(error.path[1]))
