"""PyGithub logs the answers it gets, at DEBUG; the answer that holds an installation's token is kept out."""

import logging

_TOKEN_PATH = "/access_tokens"  # noqa: S105
_URL, _BODY = 3, 8  # among the arguments of PyGithub's one message about a request


class _TokenFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without a token."""
        values = record.args
        if isinstance(values, tuple) and any(_TOKEN_PATH in str(value) for value in values[: _URL + 1]):
            record.args = (*values[:_BODY], "(answer removed: it holds a token)", *values[_BODY + 1 :])
        return True


_FILTER = _TokenFilter()


def keep_tokens_out_of_logs() -> None:
    """Does it from now on, in this process; once is enough."""
    logging.getLogger("github.Requester").addFilter(_FILTER)
