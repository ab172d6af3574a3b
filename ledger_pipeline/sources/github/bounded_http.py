"""HTTP with a bound on everything that one answer may take: bytes on the wire, bytes unpacked, time, and detours.

PyGithub's own connections read whatever comes, for as long as it comes: their time-out starts anew with every byte.
"""

import threading
import time
from collections.abc import Callable, ItemsView, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from socket import SHUT_RDWR
from typing import Any, TypeAlias, cast

from github.Requester import (
    HTTPRequestsConnectionClass,
    HTTPSRequestsConnectionClass,
    Requester,
    RequestsResponse,
)
from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ReadTimeout, RequestException, TooManyRedirects
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from ledger_pipeline.sources.github.headers import is_readable

# A page of a hundred pull requests with a hundred reviews each is about 4 MiB. Once parsed, what comes may take twenty
# times its size in memory.
MAX_ANSWER_BYTES = 16 * 2**20
MAX_DETOURS = 3

_CHUNK_BYTES = 64 * 2**10
_DETOURS = (202, 301)


class AnswerTooLarge(RequestException):
    """The answer has more than MAX_ANSWER_BYTES, packed or unpacked; the rest of it was not read."""


def bind(requester: Requester) -> Requester:
    """`requester`, which from now on reads at most MAX_ANSWER_BYTES of an answer, for no longer than its time-out.

    Its requests then also raise AnswerTooLarge, ReadTimeout for an answer that is not whole in time, and
    TooManyRedirects after MAX_DETOURS redirections (301) or requests to ask again (202) in a row.
    """
    # PyGithub lets the class be chosen for the whole process only, and then connects anew for every request.
    attributes, name = vars(requester), "_Requester__connectionClass"
    attributes[name] = _BOUNDED.get(attributes[name], attributes[name])
    return requester


@contextmanager
def _ended_after(seconds: float, end: Callable[[], object]) -> Iterator[None]:
    """Calls `end` from another thread if the block still runs after `seconds`."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _PromptHeaders(HTTPConnection):
    """A connection whose answer has to show all its headers within the time-out."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """The answer, its body not read. Raises TimeoutError, and what http.client makes of a connection that ends."""
        ended = threading.Event()
        try:
            with _ended_after(float(self.timeout or 0), lambda: self._end(ended)):
                return super().getresponse()
        except (OSError, HTTPException):
            if ended.is_set():  # else it would read as if the other side had hung up
                raise TimeoutError("timed out") from None
            raise

    def _end(self, ended: threading.Event) -> None:
        ended.set()
        with suppress(OSError):  # it ended by itself in this very moment
            self.sock.shutdown(SHUT_RDWR)


class _PromptTLSHeaders(_PromptHeaders, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _PromptHeaders


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _PromptTLSHeaders


_POOLS = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    """Connects by the pools above, through a proxy too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _WholeResponse(RequestsResponse):
    """An answer that has been read already."""

    def __init__(self, response: Response, body: bytes) -> None:
        super().__init__(response)
        self._body = body

    def read(self) -> str:
        # JSON is UTF-8, whatever the headers say; a byte that is not becomes U+FFFD.
        return self._body.decode("utf-8", "replace")

    def getheaders(self) -> ItemsView[str, str]:
        return {name: value for name, value in self.headers.items() if is_readable(name, value)}.items()


_Connection: TypeAlias = HTTPRequestsConnectionClass | HTTPSRequestsConnectionClass


class _Bounded:
    """PyGithub's connection, of either kind, over the adapter above."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _mount(cast("_Connection", self))
        self._detours = 0

    def getresponse(self) -> RequestsResponse:
        response = _answer(cast("_Connection", self))
        detours, self._detours = self._detours + 1, 0
        if response.status in _DETOURS:
            _check_detours(detours)
            self._detours = detours
        return response


class _BoundedHTTP(_Bounded, HTTPRequestsConnectionClass):
    """Over TCP."""


class _BoundedHTTPS(_Bounded, HTTPSRequestsConnectionClass):
    """Over TLS."""


_BOUNDED: dict[type, type] = {
    HTTPRequestsConnectionClass: _BoundedHTTP,
    HTTPSRequestsConnectionClass: _BoundedHTTPS,
}


def _mount(connection: _Connection) -> None:
    connection.adapter = _Adapter(
        max_retries=connection.retry, pool_connections=connection.pool_size, pool_maxsize=connection.pool_size
    )
    connection.session.mount(f"{connection.protocol}://", connection.adapter)


def _answer(connection: _Connection) -> _WholeResponse:
    """Send what the connection was given, and read all of the answer within its bounds."""
    timeout_seconds = float(connection.timeout or 0)
    began = time.monotonic()
    response = connection.session.request(
        connection.verb,
        f"{connection.protocol}://{connection.host}:{connection.port}{connection.url}",
        headers=connection.headers,
        data=connection.input,
        timeout=timeout_seconds,
        verify=connection.verify,
        allow_redirects=False,
        stream=True,
    )
    left_seconds = max(timeout_seconds - (time.monotonic() - began), 0.0)
    problem = f"the answer was not whole within {timeout_seconds:.0f} s"
    with response:
        try:
            with _ended_after(left_seconds, lambda: _end(response)):
                body = _read(response)
        except RequestException as error:
            if isinstance(error, AnswerTooLarge) or time.monotonic() - began < timeout_seconds:
                raise
            raise ReadTimeout(problem) from error
    # A body that says no length and is cut off looks whole.
    if time.monotonic() - began >= timeout_seconds:
        raise ReadTimeout(problem)
    return _WholeResponse(response, body)


def _read(response: Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES or response.raw.tell() > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(f"the answer has more than {MAX_ANSWER_BYTES // 2**20} MiB")
    return bytes(body)


def _end(response: Response) -> None:
    with suppress(OSError, RuntimeError):  # it ended by itself in this very moment
        response.raw.shutdown()


def _check_detours(detours: int) -> None:
    if detours > MAX_DETOURS:
        raise TooManyRedirects(f"GitHub sent the request elsewhere, or to ask again, {MAX_DETOURS} times in a row")
