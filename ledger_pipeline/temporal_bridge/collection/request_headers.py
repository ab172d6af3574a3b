"""Headers of requests to Dagster, as behind a proxy with a login; they are secrets."""

from collections.abc import Mapping

from pydantic import SecretStr
from requests import PreparedRequest
from requests.auth import AuthBase


class RequestHeaders(AuthBase):
    """Adds headers last, so that none of the machine's (a .netrc file's) takes their place. Its repr shows no value."""

    def __init__(self, headers: Mapping[str, SecretStr]) -> None:
        self._headers = dict(headers)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """The request with the headers on it."""
        request.headers.update({name: value.get_secret_value() for name, value in self._headers.items()})
        return request
