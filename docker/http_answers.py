#!/usr/bin/env python3
"""Exit 0 where the http:// address in the first argument answers 200, else 1 saying why: the image has no curl."""

import http.client
import sys
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 8


def problem(url: str) -> str | None:
    """What is wrong with the answer of `url`, None where nothing is."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return None if answer.status == http.HTTPStatus.OK else f"{answer.status}: {answer.read(2000).decode()}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    wrong = problem(sys.argv[1])
    sys.exit(wrong and f"{sys.argv[1]}: {wrong}")
