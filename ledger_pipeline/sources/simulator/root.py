"""The fields of GraphQL's Query: how one enters a world."""

import base64
from contextlib import suppress
from typing import Any

from graphql import GraphQLResolveInfo

from ledger_pipeline.sources.simulator.arguments import page_request
from ledger_pipeline.sources.simulator.errors import GitHubError, not_found
from ledger_pipeline.sources.simulator.global_ids import item_of
from ledger_pipeline.sources.simulator.nodes import (
    Node,
    actor_node,
    issue_node,
    pull_request_node,
    repository_node,
    review_node,
)
from ledger_pipeline.sources.simulator.owners import owner_node
from ledger_pipeline.sources.simulator.paging import Ordering, PageRequest, connection
from ledger_pipeline.sources.simulator.search import Found, search
from ledger_pipeline.sources.simulator.view import WorldView
from ledger_pipeline.sources.simulator.world import Actor, PullRequest

VIEWER = Actor("ledger-collector", 9_000_001)


def query_root(world: WorldView, rate_limit: Node) -> Node:
    """The root object of one query; `rate_limit` is what this query leaves of the budget."""

    def repository(_info: GraphQLResolveInfo, owner: str, name: str, **arguments: Any) -> Node:
        wanted = f"{owner}/{name}"
        view = world.named(wanted)
        renamed = view is not None and view.repository.name_with_owner.lower() != wanted.lower()
        if view is None or (renamed and arguments.get("followRenames") is False):
            raise not_found("a Repository with the name", f"'{wanted}'")
        return repository_node(view)

    def repository_owner(_info: GraphQLResolveInfo, login: str) -> Node | None:
        views = world.owned_by(login)
        return owner_node(views) if views else None

    def node(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        return _node_with_id(world, arguments["id"])

    def nodes(_info: GraphQLResolveInfo, ids: list[str]) -> list[Node | GitHubError]:
        return [_node_or_error(world, global_id) for global_id in ids]

    def search_items(_info: GraphQLResolveInfo, query: str, **arguments: Any) -> Node:
        matches = search(world, query)
        page = page_request(arguments)
        if page == PageRequest():
            page = PageRequest(first=0)  # The one connection that answers its count without a page size.
        return connection("search", Ordering.as_listed(matches), _found_node, page) | {"issueCount": len(matches)}

    return {
        "repository": repository,
        "repositoryOwner": repository_owner,
        "node": node,
        "nodes": nodes,
        "search": search_items,
        "rateLimit": rate_limit,
        "viewer": actor_node(VIEWER),
    }


def _found_node(match: Found) -> Node:
    view, item = match
    return pull_request_node(view, item) if isinstance(item, PullRequest) else issue_node(view, item)


def _node_or_error(world: WorldView, global_id: str) -> Node | GitHubError:
    try:
        return _node_with_id(world, global_id)
    except GitHubError as error:
        return error  # graphql-core makes of it a null and an entry in `errors`.


def _node_with_id(world: WorldView, global_id: str) -> Node:
    node: Node | None = None
    with suppress(ValueError, TypeError):  # Not an id that we gave out.
        node = _item(world, *item_of(global_id)) if "_" in global_id else _repository(world, global_id)
    if node is None:
        raise not_found("a node with the global id of", f"'{global_id}'")
    return node


def _repository(world: WorldView, global_id: str) -> Node | None:
    kind, database_id = base64.urlsafe_b64decode(global_id).decode().split(":")
    view = world.with_id(int(database_id)) if kind == "Repository" else None
    return None if view is None else repository_node(view)


def _item(world: WorldView, kind: str, repository_id: int, database_id: int) -> Node | None:
    view = world.with_id(repository_id)
    if view is None:
        return None
    if kind == "Issue":
        issues = (issue for issue in view.repository.issues if issue.database_id == database_id)
        return next((issue_node(view, issue) for issue in issues), None)
    for pull_request in view.repository.pull_requests:
        if kind == "PullRequest" and pull_request.database_id == database_id:
            return pull_request_node(view, pull_request)
        for review in pull_request.reviews if kind == "PullRequestReview" else ():
            if review.database_id == database_id:
                return review_node(view, pull_request, review)
    return None
