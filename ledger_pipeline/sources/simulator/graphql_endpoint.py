"""POST /graphql: who asks, what is asked, what goes wrong, and the answer."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.sources.simulator import answers
from ledger_pipeline.sources.simulator.answers import Answer
from ledger_pipeline.sources.simulator.budget import Standing
from ledger_pipeline.sources.simulator.cost import Cost
from ledger_pipeline.sources.simulator.faults import (
    After,
    Asked,
    BadItem,
    Damage,
    FailedAnswer,
    Fault,
    HeavyItem,
    HeavyPage,
    Odd,
    SecondaryLimit,
    Slow,
)
from ledger_pipeline.sources.simulator.query import Query, RefusedError, read_query
from ledger_pipeline.sources.simulator.respond import Replier, refusal, token_of
from ledger_pipeline.sources.simulator.root import query_root
from ledger_pipeline.sources.simulator.spoil import holds, is_too_heavy, spoil
from ledger_pipeline.sources.simulator.state import SimulatorState
from ledger_pipeline.sources.simulator.view import github_time

RESOURCE = "graphql"


class GraphQLEndpoint:
    """Answers GraphQL requests from the simulator's state."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        reply = Replier(self._state, request, RESOURCE)
        refused = refusal(self._state, request)
        if refused is not None:
            return reply.send(refused)
        try:
            asked_for = json_of(await request.body())
            text, variables = asked_for.get("query"), asked_for.get("variables")
            name = asked_for.get("operationName")
        except (ValueError, AttributeError):
            return reply.send(answers.malformed())
        query: Query | RefusedError
        try:
            query = read_query(text, variables, name, self._state.schema)
        except RefusedError as error:
            query = error
        cost = query.cost if isinstance(query, Query) else Cost()
        reply.asked(text, variables, name, cost)
        faults = self._state.faults.take(
            Asked(self._state.next_request_number(), tuple(cost.repositories), cost.largest_page)
        )
        await _delay(faults)
        answer = self._instead(faults, cost, token_of(request), reply.request_id)
        if answer is None:
            answer, bad = self._served(query, token_of(request), faults, reply.request_id)
            await _delay(bad)
            faults += bad
        response = reply.send(answer, next((fault for fault in faults if isinstance(fault, Damage)), None))
        for then in faults:
            if isinstance(then, After):
                then.action()
        return response

    def _instead(self, faults: list[Fault], cost: Cost, token: str, request_id: str) -> Answer | None:
        """The answer of a request that is not served; None for one that is."""
        standing = self._state.standing(token, RESOURCE)
        for fault in faults:
            if isinstance(fault, FailedAnswer):
                return answers.failure(fault, standing, request_id)
            if isinstance(fault, SecondaryLimit):
                return answers.secondary_limit(fault, request_id)
            if isinstance(fault, HeavyPage) and cost.largest_page > fault.page_size_over:
                return answers.bad_gateway()
        return answers.budget_spent(standing) if standing.is_spent else None

    def _served(
        self, query: Query | RefusedError, token: str, faults: list[Fault], request_id: str
    ) -> tuple[Answer, list[Fault]]:
        """The answer, and what is met for the bad items in it."""
        if isinstance(query, RefusedError):
            return answers.json_answer(200, {"errors": query.errors}), []
        standing = self._state.charge(token, RESOURCE, query.cost.points)
        payload = query.run(query_root(self._state.view(token), _rate_limit(query.cost, standing)))
        bad: list[Fault] = [fault.instead for fault in faults if isinstance(fault, BadItem) and holds(payload, fault)]
        for instead in bad:
            if isinstance(instead, FailedAnswer):
                return answers.failure(instead, standing, request_id), []
        for fault in faults:
            if isinstance(fault, HeavyItem) and is_too_heavy(payload, fault):
                return answers.gave_up(fault.status), []
            if isinstance(fault, Odd):
                spoil(payload, fault)
        return answers.json_answer(200, payload), bad


async def _delay(faults: list[Fault]) -> None:
    for slow in faults:
        if isinstance(slow, Slow):
            await asyncio.sleep(slow.delay_seconds)


def _rate_limit(cost: Cost, standing: Standing) -> dict[str, Any]:
    return {
        "cost": cost.points,
        "nodeCount": cost.node_count,
        "limit": standing.limit,
        "used": standing.used,
        "remaining": standing.remaining,
        "resetAt": github_time(standing.resets_at),
    }
