"""The REST paths a client may try beside GraphQL: its rate limit, who it is, and whether a repository is there."""

from starlette.requests import Request
from starlette.responses import Response

from ledger_pipeline.sources.simulator import answers
from ledger_pipeline.sources.simulator.answers import Answer
from ledger_pipeline.sources.simulator.nodes import WEB_URL, node_id
from ledger_pipeline.sources.simulator.respond import Replier, refusal, token_of
from ledger_pipeline.sources.simulator.root import VIEWER
from ledger_pipeline.sources.simulator.state import SimulatorState
from ledger_pipeline.sources.simulator.view import RepositoryView, github_time

RESOURCE = "core"


class RestEndpoints:
    """Answers REST requests from the simulator's state."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def rate_limit(self, request: Request) -> Response:
        """GET /rate_limit; asking it is free."""
        reply = Replier(self._state, request, RESOURCE)
        refused = refusal(self._state, request)
        if refused is not None:
            return reply.send(refused)
        resources = {}
        for resource in (RESOURCE, "graphql"):
            standing = self._state.standing(token_of(request), resource)
            resources[resource] = {
                "limit": standing.limit,
                "used": standing.used,
                "remaining": standing.remaining,
                "reset": int(standing.resets_at.timestamp()),
            }
        return reply.send(answers.json_answer(200, {"resources": resources, "rate": resources[RESOURCE]}))

    async def user(self, request: Request) -> Response:
        """GET /user; an installation is nobody."""
        if self._state.is_installation(token_of(request)):
            return self._answer(request, answers.message(403, "Resource not accessible by integration"))
        viewer = {"login": VIEWER.login, "id": VIEWER.database_id, "type": "User"}
        return self._answer(request, answers.json_answer(200, viewer))

    async def repository(self, request: Request) -> Response:
        """GET /repos/{owner}/{repo}; a renamed one sends to its id."""
        wanted = f"{request.path_params['owner']}/{request.path_params['repo']}"
        view = self._state.view(token_of(request)).named(wanted)
        if view is not None and view.repository.name_with_owner.lower() != wanted.lower():
            return self._answer(request, _moved(request, view))
        return self._answer(request, answers.not_found() if view is None else _told(view))

    async def repository_by_id(self, request: Request) -> Response:
        """GET /repositories/{id}, where a renamed repository is found."""
        view = self._state.view(token_of(request)).with_id(request.path_params["id"])
        return self._answer(request, answers.not_found() if view is None else _told(view))

    def _answer(self, request: Request, answer: Answer) -> Response:
        reply = Replier(self._state, request, RESOURCE)
        refused = refusal(self._state, request)
        if refused is not None:
            return reply.send(refused)
        self._state.charge(token_of(request), RESOURCE, 1)
        return reply.send(answer)


def _moved(request: Request, view: RepositoryView) -> Answer:
    prefix = request.url.path.partition("/repos/")[0]
    where = str(request.url.replace(path=f"{prefix}/repositories/{view.repository.database_id}"))
    return answers.json_answer(301, {"message": "Moved Permanently", "url": where}, {"Location": where})


def _told(view: RepositoryView) -> Answer:
    repository = view.repository
    return answers.json_answer(
        200,
        {
            "id": repository.database_id,
            "node_id": node_id("Repository", repository.database_id),
            "name": repository.name,
            "full_name": repository.name_with_owner,
            "private": repository.is_private,
            "archived": repository.is_archived,
            "html_url": f"{WEB_URL}/{repository.name_with_owner}",
            "updated_at": github_time(view.updated_at),
            "pushed_at": None if view.pushed_at is None else github_time(view.pushed_at),
        },
    )
