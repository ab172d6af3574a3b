"""What each kind of event weighs, in integer milli-units; pinned into an epoch when it is created."""

from collections.abc import Mapping

# The system we join pays these; an epoch keeps the weights it was created with.
DEFAULT_WEIGHTS_MILLI: Mapping[str, int] = {
    "github:pr_merged": 1000,
    "github:review_submitted": 500,
    "github:issue_closed": 300,
}
