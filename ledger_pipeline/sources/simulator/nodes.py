"""World objects as GraphQL objects: dictionaries by GraphQL's field names, connections and links as callables.

graphql-core calls what is callable, so nothing is looked up that a query does not ask for, and no type needs
resolvers of its own.
"""

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from graphql import GraphQLResolveInfo

from ledger_pipeline.sources.simulator.arguments import is_descending, list_options, page_request
from ledger_pipeline.sources.simulator.errors import not_found
from ledger_pipeline.sources.simulator.global_ids import item_id
from ledger_pipeline.sources.simulator.made_up import USER_ID_BITS, stable_number
from ledger_pipeline.sources.simulator.paging import Key, Ordering, connection
from ledger_pipeline.sources.simulator.view import RepositoryView, github_time
from ledger_pipeline.sources.simulator.world import (
    Actor,
    ActorKind,
    Closure,
    Issue,
    PullRequest,
    Repository,
    Review,
    StateReason,
)

Node = dict[str, Any]

WEB_URL = "https://github.com"


def repository_node(view: RepositoryView) -> Node:
    """A repository; its lists page as GitHub's do."""
    repository = view.repository

    def pull_requests(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        ordering = view.pull_requests.ordered(list_options(arguments))
        return connection(
            "pullRequests",
            ordering,
            lambda pull_request: pull_request_node(view, pull_request),
            page_request(arguments),
            descending=is_descending(arguments),
        )

    def issues(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        ordering = view.issues.ordered(list_options(arguments))
        return connection(
            "issues",
            ordering,
            lambda issue: issue_node(view, issue),
            page_request(arguments),
            descending=is_descending(arguments),
        )

    def pull_request(_info: GraphQLResolveInfo, number: int) -> Node:
        if number not in view.pull_requests.by_number:
            raise not_found("a PullRequest with the number of", str(number))
        return pull_request_node(view, view.pull_requests.by_number[number])

    def issue(_info: GraphQLResolveInfo, number: int) -> Node:
        if number not in view.issues.by_number:
            raise not_found("an Issue with the number of", str(number))
        return issue_node(view, view.issues.by_number[number])

    return {
        "__typename": "Repository",
        "id": node_id("Repository", repository.database_id),
        "databaseId": repository.database_id,
        "nameWithOwner": repository.name_with_owner,
        "name": repository.name,
        "owner": actor_node(owner_actor(repository)),
        "isArchived": repository.is_archived,
        "isPrivate": repository.is_private,
        "isFork": repository.is_fork,
        "defaultBranchRef": None if repository.default_branch is None else {"name": repository.default_branch},
        "url": f"{WEB_URL}/{repository.name_with_owner}",
        "updatedAt": lambda _info: github_time(view.updated_at),
        "pushedAt": lambda _info: None if view.pushed_at is None else github_time(view.pushed_at),
        "pullRequests": pull_requests,
        "issues": issues,
        "pullRequest": pull_request,
        "issue": issue,
    }


def pull_request_node(view: RepositoryView, pull_request: PullRequest) -> Node:
    """A pull request; urls carry the name the repository has now, as GitHub's do."""

    def reviews(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        states, author = arguments.get("states"), arguments.get("author")
        wanted = [
            review
            for review in pull_request.reviews
            if (states is None or review.state in states)
            and (author is None or (review.author is not None and review.author.login == author))
        ]
        ordering = Ordering.of(wanted, _review_key)
        return connection(
            "reviews", ordering, lambda review: review_node(view, pull_request, review), page_request(arguments)
        )

    def files(_info: GraphQLResolveInfo, **arguments: Any) -> Node | None:
        return _names("files", "path", pull_request.files, arguments)

    def labels(_info: GraphQLResolveInfo, **arguments: Any) -> Node | None:
        return _names("labels", "name", pull_request.labels, arguments)

    def commits(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        listed = Ordering.as_listed(pull_request.commits)
        return connection("commits", listed, lambda oid: {"commit": _commit(oid)}, page_request(arguments))

    def closing(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        numbered = view.issues.by_number
        closed = Ordering.as_listed([numbered[number] for number in pull_request.closes if number in numbered])
        page = page_request(arguments)
        return connection("closingIssuesReferences", closed, lambda issue: issue_node(view, issue), page)

    return {
        "__typename": "PullRequest",
        **_common(view, "PullRequest", pull_request),
        "url": _pull_request_url(view, pull_request),
        "mergedAt": None if pull_request.merged_at is None else github_time(pull_request.merged_at),
        "merged": pull_request.merged_at is not None,
        "mergedBy": actor_node(pull_request.merged_by),
        "isDraft": pull_request.is_draft,
        "baseRefName": pull_request.base_ref_name,
        "additions": pull_request.additions,
        "deletions": pull_request.deletions,
        "changedFiles": pull_request.changed_files,
        "headRefName": pull_request.head_ref_name,
        "mergeCommit": _merge_commit(pull_request),
        "commits": commits,
        "closingIssuesReferences": closing,
        "labels": labels,
        "files": files,
        "reviews": reviews,
    }


def review_node(view: RepositoryView, pull_request: PullRequest, review: Review) -> Node:
    """A review that has been submitted."""
    assert review.submitted_at is not None, "pending reviews are never seen"  # noqa: S101
    submitted_at = github_time(review.submitted_at)
    return {
        "__typename": "PullRequestReview",
        "id": item_id("PullRequestReview", view.repository.database_id, review.database_id),
        "databaseId": _graphql_int(review.database_id),
        "fullDatabaseId": str(review.database_id),
        "author": actor_node(review.author),
        "state": str(review.state),
        "body": review.body,
        "submittedAt": submitted_at,
        "createdAt": submitted_at,
        "updatedAt": submitted_at if review.edited_at is None else github_time(review.edited_at),
        "url": f"{_pull_request_url(view, pull_request)}#pullrequestreview-{review.database_id}",
        "commit": _commit(review.commit),
        "pullRequest": lambda _info: pull_request_node(view, pull_request),
        "repository": lambda _info: repository_node(view),
    }


def issue_node(view: RepositoryView, issue: Issue) -> Node:
    """An issue."""

    def labels(_info: GraphQLResolveInfo, **arguments: Any) -> Node | None:
        return _names("labels", "name", issue.labels, arguments)

    def state_reason(_info: GraphQLResolveInfo, **arguments: Any) -> str | None:
        # DUPLICATE came later: without the argument GitHub still answers what older clients know.
        reason = issue.state_reason
        if reason is StateReason.DUPLICATE and not arguments.get("enableDuplicate"):
            return str(StateReason.NOT_PLANNED)
        return None if reason is None else str(reason)

    def timeline_items(_info: GraphQLResolveInfo, **arguments: Any) -> Node:
        # A world tells of an issue only its closings.
        closings = Ordering.as_listed(issue.closures)
        page = page_request(arguments)
        return connection("timelineItems", closings, lambda closure: _closed_event(view, issue, closure), page)

    return {
        "__typename": "Issue",
        **_common(view, "Issue", issue),
        "url": f"{WEB_URL}/{view.repository.name_with_owner}/issues/{issue.number}",
        "stateReason": state_reason,
        "timelineItems": timeline_items,
        "labels": labels,
    }


@lru_cache(maxsize=4096)
def actor_node(actor: Actor | None) -> Node | None:
    """An author by its own type; nothing for a deleted account."""
    if actor is None:
        return None
    return {
        "__typename": str(actor.kind),
        "id": node_id(actor.kind, actor.database_id),
        "databaseId": actor.database_id,
        "login": actor.login,
        "name": None,
        "avatarUrl": f"https://avatars.githubusercontent.com/u/{actor.database_id}?v=4",
        "resourcePath": f"/{actor.login}",
        "url": f"{WEB_URL}/{actor.login}",
    }


def node_id(kind: str, *ids: int) -> str:
    """The opaque global id of what is no item of a repository; it holds what is needed to find it again."""
    text = ":".join((kind, *(str(id_) for id_ in ids)))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _common(view: RepositoryView, kind: str, item: PullRequest | Issue) -> Node:
    return {
        "id": item_id(kind, view.repository.database_id, item.database_id),
        "databaseId": _graphql_int(item.database_id),
        "fullDatabaseId": str(item.database_id),
        "number": item.number,
        "title": item.title,
        "state": item.state,
        "author": actor_node(item.author),
        "createdAt": github_time(item.created_at),
        "updatedAt": github_time(item.updated_at),
        "closedAt": None if item.closed_at is None else github_time(item.closed_at),
        "closed": item.closed_at is not None,
        "repository": lambda _info: repository_node(view),
    }


def _names(name: str, field: str, values: Sequence[str] | None, arguments: dict[str, Any]) -> Node | None:
    if values is None:
        return None
    return connection(name, Ordering.as_listed(values), lambda value: {field: value}, page_request(arguments))


def _review_key(review: Review) -> Key:
    assert review.submitted_at is not None, "pending reviews are never seen"  # noqa: S101
    return github_time(review.submitted_at), review.database_id


def _pull_request_url(view: RepositoryView, pull_request: PullRequest) -> str:
    return f"{WEB_URL}/{view.repository.name_with_owner}/pull/{pull_request.number}"


def _commit(oid: str | None, author: Actor | None = None, message: str = "A commit") -> Node | None:
    if oid is None:
        return None
    return {
        "__typename": "Commit",
        "oid": oid,
        "message": message,
        "author": {"email": _email(author), "name": author and author.login, "user": _user_node(author)},
    }


def _merge_commit(pull_request: PullRequest) -> Node | None:
    """A squashed pull request's, so its author is the pull request's own."""
    title = f"{pull_request.title} (#{pull_request.number})"
    return _commit(pull_request.merge_commit, pull_request.author, pull_request.merge_message or title)


def _email(author: Actor | None) -> str | None:
    return None if author is None else f"{author.database_id}+{author.login}@users.noreply.github.com"


def _user_node(author: Actor | None) -> Node | None:
    return actor_node(author) if author is not None and author.kind is ActorKind.USER else None


def _closed_event(view: RepositoryView, issue: Issue, closure: Closure) -> Node:
    pull_request = view.pull_requests.by_number.get(closure.pull_request or 0)
    closer = _commit(closure.commit) if pull_request is None else pull_request_node(view, pull_request)
    return {
        "__typename": "ClosedEvent",
        "id": node_id("ClosedEvent", issue.database_id, int(closure.closed_at.timestamp())),
        "actor": actor_node(closure.closed_by),
        "closer": closer,
        "createdAt": github_time(closure.closed_at),
    }


def _graphql_int(database_id: int) -> int | None:
    # `databaseId` is an Int: GitHub answers null for what does not fit, hence `fullDatabaseId`.
    return database_id if database_id < 2**31 else None


def owner_actor(repository: Repository) -> Actor:
    """Who owns a repository: an organization, for nothing else is known of it."""
    owner_id = stable_number("owner", repository.owner.lower()) % 2**USER_ID_BITS
    return Actor(repository.owner, owner_id, ActorKind.ORGANIZATION)
