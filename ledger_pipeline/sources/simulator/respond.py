"""What every answer has in common: who may ask, the headers of GitHub's answers, and a record of the request."""

from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger_pipeline.sources.simulator import answers
from ledger_pipeline.sources.simulator.answers import JSON_TYPE, Answer
from ledger_pipeline.sources.simulator.cost import Cost
from ledger_pipeline.sources.simulator.faults import Damage
from ledger_pipeline.sources.simulator.state import RequestRecord, SimulatorState
from ledger_pipeline.sources.simulator.wire import CutShortResponse, DroppedResponse

_RESPONSES: dict[Damage | None, type[Response]] = {
    Damage.DROPPED: DroppedResponse,
    Damage.CUT_SHORT: CutShortResponse,
}


def token_of(request: Request) -> str:
    """The token of `Authorization: Bearer <token>` or `token <token>`; empty where there is none."""
    return request.headers.get("authorization", "").partition(" ")[2].strip()


def refusal(state: SimulatorState, request: Request) -> Answer | None:
    """The answer to somebody who may not ask."""
    token = token_of(request)
    if not token:
        return answers.unauthenticated()
    return answers.bad_credentials() if state.is_bad(token) else None


class Replier:
    """Sends the one answer of a request, and records both."""

    def __init__(self, state: SimulatorState, request: Request, resource: str) -> None:
        self.request_id = state.next_request_id()
        self._state = state
        self._request = request
        self._resource = resource
        self._query: dict[str, Any] = {}

    def asked(self, text: str | None, variables: dict[str, Any] | None, name: str | None, cost: Cost) -> None:
        """Note what a GraphQL request asks."""
        self._query = {
            "query": text,
            "variables": variables,
            "operation_name": name,
            "cost_points": cost.points,
            "repositories": tuple(cost.repositories),
        }

    def send(self, answer: Answer, damage: Damage | None = None) -> Response:
        """The HTTP response, whole or damaged on its way."""
        now = self._state.now()
        self._state.record(
            RequestRecord(
                at=now,
                method=self._request.method,
                path=self._request.url.path,
                token=token_of(self._request),
                status=None if damage is Damage.DROPPED else answer.status,
                **self._query,
            )
        )
        headers = {"X-GitHub-Request-Id": self.request_id}
        if damage is not Damage.UNDATED:
            headers["Date"] = format_datetime(now, usegmt=True)
        scopes = self._state.scopes_of(token_of(self._request))
        if scopes is not None and answer.status != 401:
            headers["X-OAuth-Scopes"] = scopes
        if answer.media_type == JSON_TYPE:  # An HTML page comes from the proxy, which knows of no budget.
            headers |= self._state.standing(token_of(self._request), self._resource).headers()
        body = answer.body[: len(answer.body) // 2] if damage is Damage.TRUNCATED_JSON else answer.body
        response = _RESPONSES.get(damage, Response)
        return response(body, answer.status, headers | answer.headers, answer.media_type)
