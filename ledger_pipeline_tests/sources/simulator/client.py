"""How tests talk to the simulator: with requests, with PyGithub, and without HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import github
import requests

from ledger_pipeline.sources.simulator.query import read_query
from ledger_pipeline.sources.simulator.root import query_root
from ledger_pipeline.sources.simulator.view import Timeline
from ledger_pipeline.sources.simulator.world import World

NUMBERS = '{repository(owner:"cogni-dao",name:"ledger"){pullRequests(first:2){nodes{number}}}}'


def post(url: str, query: str = NUMBERS, token: str = "t", **variables: Any) -> requests.Response:
    body = {"query": query, "variables": variables}
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{url}/graphql", json=body, headers=headers, timeout=10)


def run(world: World, as_of: datetime, query: str, **variables: Any) -> dict[str, Any]:
    """The answer to a query, without a server."""
    return read_query(query, variables, None).run(query_root(Timeline(world).at(as_of), {}))


@contextmanager
def pygithub(url: str) -> Iterator[github.Github]:
    client = github.Github(
        auth=github.Auth.Token("t"), base_url=url, retry=None, seconds_between_requests=0, seconds_between_writes=0
    )
    with client:
        yield client


def ask(url: str, query: str = NUMBERS, **variables: Any) -> dict[str, Any]:
    """The answer as PyGithub gives it; raises what PyGithub raises."""
    with pygithub(url) as client:
        _, answer = client.requester.graphql_query(query, variables)
        return answer
