"""An owner of repositories as a GraphQL object, with their list."""

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLResolveInfo

from ledger_pipeline.sources.simulator.arguments import page_request
from ledger_pipeline.sources.simulator.nodes import Node, actor_node, owner_actor, repository_node
from ledger_pipeline.sources.simulator.paging import Key, Ordering, connection
from ledger_pipeline.sources.simulator.view import RepositoryView, github_time


def owner_node(views: Sequence[RepositoryView]) -> Node:
    """Who owns `views`, and their list, the oldest first: where nothing is known of that, by id."""

    def repositories(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        ordering = Ordering.of(views, _by_age)
        return connection("repositories", ordering, repository_node, page_request(arguments))

    return actor_node(owner_actor(views[0].repository)) | {"repositories": repositories}  # type: ignore[operator]


def _by_age(view: RepositoryView) -> Key:
    created_at = view.repository.created_at
    return "" if created_at is None else github_time(created_at), view.repository.database_id
