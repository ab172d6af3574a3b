"""The HTTP application: which path is answered by what, at github.com's addresses and at GitHub Enterprise's."""

from starlette.applications import Starlette
from starlette.routing import Route

from ledger_pipeline.sources.simulator.app_endpoints import AppEndpoints
from ledger_pipeline.sources.simulator.graphql_endpoint import GraphQLEndpoint
from ledger_pipeline.sources.simulator.rest import RestEndpoints
from ledger_pipeline.sources.simulator.state import SimulatorState


def application(state: SimulatorState) -> Starlette:
    """An ASGI application that serves this state."""
    graphql, rest, apps = GraphQLEndpoint(state), RestEndpoints(state), AppEndpoints(state)
    routes = [
        Route("/graphql", graphql.answer, methods=["POST"]),
        # A client told http://host/api/v3, GitHub Enterprise's address, asks GraphQL here.
        Route("/api/graphql", graphql.answer, methods=["POST"]),
    ]
    for prefix in ("", "/api/v3"):
        routes += [
            Route(f"{prefix}/rate_limit", rest.rate_limit),
            Route(f"{prefix}/user", rest.user),
            Route(f"{prefix}/repos/{{owner}}/{{repo}}", rest.repository),
            Route(f"{prefix}/repositories/{{id:int}}", rest.repository_by_id),
            Route(f"{prefix}/repos/{{owner}}/{{repo}}/installation", apps.of_repository),
            Route(f"{prefix}/orgs/{{owner}}/installation", apps.of_organization),
            Route(f"{prefix}/users/{{owner}}/installation", apps.of_user),
            Route(f"{prefix}/app/installations", apps.installations),
            Route(f"{prefix}/app/installations/{{id:int}}/access_tokens", apps.access_token, methods=["POST"]),
        ]
    return Starlette(routes=routes)
