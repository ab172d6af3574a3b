"""The REST paths a GitHub App asks as itself: its installations, and a token for one."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from ledger_pipeline.sources.simulator import answers
from ledger_pipeline.sources.simulator.answers import Answer
from ledger_pipeline.sources.simulator.apps import App
from ledger_pipeline.sources.simulator.respond import Replier, token_of
from ledger_pipeline.sources.simulator.state import SimulatorState
from ledger_pipeline.sources.simulator.view import github_time

RESOURCE = "core"


class AppEndpoints:
    """Answers to JWTs that an App of the simulator's has signed."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def installations(self, request: Request) -> Response:
        """GET /app/installations."""

        def answer_to(app: App) -> Answer:
            every = [_installation(app, owner, id_) for owner, id_ in app.installations.items()]
            return answers.json_answer(200, every)

        return self._answer(request, answer_to)

    async def of_repository(self, request: Request) -> Response:
        """GET /repos/{owner}/{repo}/installation."""
        owner = request.path_params["owner"]
        view = self._state.view().named(f"{owner}/{request.path_params['repo']}")
        return self._answer(request, lambda app: answers.not_found() if view is None else _found(app, owner))

    async def of_organization(self, request: Request) -> Response:
        """GET /orgs/{owner}/installation."""
        owner = request.path_params["owner"]

        def answer_to(app: App) -> Answer:
            is_user = owner.lower() in {user.lower() for user in app.users}
            return answers.not_found() if is_user else _found(app, owner)

        return self._answer(request, answer_to)

    async def of_user(self, request: Request) -> Response:
        """GET /users/{owner}/installation."""
        owner = request.path_params["owner"]
        return self._answer(request, lambda app: _found(app, owner))

    async def access_token(self, request: Request) -> Response:
        """POST /app/installations/{id}/access_tokens."""
        wanted = request.path_params["id"]

        def answer_to(app: App) -> Answer:
            owner = next((owner for owner, id_ in app.installations.items() if id_ == wanted), None)
            if owner is None:
                return answers.not_found()
            token = self._state.hand_out_token(owner)
            body = {
                "token": token.token,
                "expires_at": github_time(token.expires_at),
                "permissions": dict(app.permissions),
                "repository_selection": "all",
            }
            return answers.json_answer(201, body)

        return self._answer(request, answer_to)

    def _answer(self, request: Request, answer_to: Callable[[App], Answer]) -> Response:
        reply = Replier(self._state, request, RESOURCE)
        app = self._state.apps.signer_of(token_of(request))
        if app is None:
            return reply.send(answers.message(401, "A JSON web token could not be decoded"))
        self._state.charge(str(app.app_id), RESOURCE, 1)
        return reply.send(answer_to(app))


def _found(app: App, owner: str) -> Answer:
    installed = app.installed_for(owner)
    return answers.not_found() if installed is None else answers.json_answer(200, _installation(app, *installed))


def _installation(app: App, owner: str, id_: int) -> dict[str, object]:
    return {
        "id": id_,
        "app_id": app.app_id,
        "app_slug": app.slug,
        "permissions": dict(app.permissions),
        "account": {"login": owner},
        "target_type": "User" if owner in app.users else "Organization",
        "repository_selection": "all",
    }
