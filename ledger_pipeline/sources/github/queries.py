"""The GraphQL queries we send; every one validates against GitHub's published schema in a test.

One request carries a page of pull requests with their reviews and a page of issues: 100 of each with 100 nested
reviews and all that tells facts (`fact_fields`) cost six points. Fields that make GitHub compute a diff (additions,
changedFiles) are left out: they are what turns a page of a hundred into a 502.
"""

from ledger_pipeline.sources.github.fact_fields import lines_of

_ACTOR = f"""
fragment actor on Actor {{
  __typename
  login
  ... on User {{ databaseId }}
{lines_of("Actor")}
}}
"""

_REVIEW = f"""
fragment review on PullRequestReview {{
  fullDatabaseId
  state
  submittedAt
  url
  author {{ ...actor }}
{lines_of("PullRequestReview")}
}}
"""

_PULL_REQUEST = f"""
fragment pullRequest on PullRequest {{
  fullDatabaseId
  title
  url
  merged
  mergedAt
  baseRefName
  author {{ ...actor }}
{lines_of("PullRequest")}
}}
"""

_ISSUE = f"""
fragment issue on Issue {{
  fullDatabaseId
  title
  url
  closed
  closedAt
  author {{ ...actor }}
{lines_of("Issue")}
}}
"""

_BRANCH = f"""
fragment branch on Repository {{
  databaseId
{lines_of("Repository")}
}}
"""

_REVIEWS = """
fragment reviews on PullRequest {
  reviews(first: $reviewsFirst, after: $reviewsAfter) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes { ...review }
  }
}
"""

# `pullRequests` takes no `since`: it is read newest update first until older than the floor. `issues` takes one, and
# counts what is left; `allIssues` counts them all. Not `whole`, a page only lists its items: the lightest there is.
ACTIVITY = (
    """
query Activity(
  $owner: String!, $name: String!, $whole: Boolean!,
  $withPullRequests: Boolean!, $pullRequestsFirst: Int!, $pullRequestsAfter: String,
  $withReviews: Boolean!, $reviewsFirst: Int!, $reviewsAfter: String,
  $withIssues: Boolean!, $issuesFirst: Int!, $issuesAfter: String, $issuesSince: DateTime
) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    ...branch @include(if: $whole)
    allIssues: issues(first: 1) @include(if: $withIssues) { totalCount }
    pullRequests(
      first: $pullRequestsFirst, after: $pullRequestsAfter, orderBy: {field: UPDATED_AT, direction: DESC}
    ) @include(if: $withPullRequests) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes {
        number
        createdAt
        updatedAt
        ...pullRequest @include(if: $whole)
        ...reviews @include(if: $withReviews)
      }
    }
    issues(
      first: $issuesFirst, after: $issuesAfter, orderBy: {field: UPDATED_AT, direction: DESC},
      filterBy: {since: $issuesSince}
    ) @include(if: $withIssues) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes {
        number
        createdAt
        updatedAt
        ...issue @include(if: $whole)
      }
    }
  }
}
"""
    + _ACTOR
    + _REVIEW
    + _PULL_REQUEST
    + _ISSUE
    + _REVIEWS
    + _BRANCH
)

# Where the item behind a cursor ends, and nothing of the item: the way past one that GitHub cannot even list.
PLACE = """
query Place(
  $owner: String!, $name: String!,
  $withPullRequests: Boolean!, $pullRequestsAfter: String,
  $withIssues: Boolean!, $issuesAfter: String, $issuesSince: DateTime
) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    allIssues: issues(first: 1) @include(if: $withIssues) { totalCount }
    pullRequests(
      first: 1, after: $pullRequestsAfter, orderBy: {field: UPDATED_AT, direction: DESC}
    ) @include(if: $withPullRequests) {
      totalCount
      pageInfo { hasNextPage endCursor }
    }
    issues(
      first: 1, after: $issuesAfter, orderBy: {field: UPDATED_AT, direction: DESC}, filterBy: {since: $issuesSince}
    ) @include(if: $withIssues) {
      totalCount
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

# The least that can be asked of a repository: where this gets no answer, it is not an item's doing.
NAME = """
query Name($owner: String!, $name: String!) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
  }
}
"""

# One pull request with a page of its reviews, or only whether it is there.
PULL_REQUEST = (
    """
query PullRequest(
  $owner: String!, $name: String!, $number: Int!, $whole: Boolean!,
  $withReviews: Boolean!, $reviewsFirst: Int!, $reviewsAfter: String
) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    ...branch @include(if: $whole)
    pullRequest(number: $number) {
      number
      createdAt
      updatedAt
      ...pullRequest @include(if: $whole)
      ...reviews @include(if: $withReviews)
    }
  }
}
"""
    + _ACTOR
    + _REVIEW
    + _PULL_REQUEST
    + _REVIEWS
    + _BRANCH
)

# One issue, or only whether it is there.
ISSUE = (
    """
query Issue($owner: String!, $name: String!, $number: Int!, $whole: Boolean!) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    databaseId
    nameWithOwner
    issue(number: $number) {
      number
      createdAt
      updatedAt
      ...issue @include(if: $whole)
    }
  }
}
"""
    + _ACTOR
    + _ISSUE
)

# By age, so that one made while the list is read is at its end. A user's own, not those that a user works on.
OWNER = """
query Owner($login: String!, $first: Int!, $after: String) {
  rateLimit { cost remaining }
  repositoryOwner(login: $login) {
    repositories(
      first: $first, after: $after, ownerAffiliations: [OWNER], orderBy: {field: CREATED_AT, direction: ASC}
    ) {
      totalCount
      pageInfo { hasNextPage endCursor }
      nodes { nameWithOwner databaseId isArchived isFork }
    }
  }
}
"""


def items_query(pull_requests: int, issues: int) -> str:
    """Asks for so many pull requests with a page of their reviews, aliased `p0`, ..., and so many issues, `i0`, ...

    Their numbers are variables of the same names. There is at least one of either.
    """
    numbers = [*(f"p{n}" for n in range(pull_requests)), *(f"i{n}" for n in range(issues))]
    variables = "".join(f", ${alias}: Int!" for alias in numbers)
    moments = "number createdAt updatedAt"
    items = "\n".join(
        f"    {alias}: pullRequest(number: ${alias}) {{ {moments} ...pullRequest ...reviews }}"
        if alias.startswith("p")
        else f"    {alias}: issue(number: ${alias}) {{ {moments} ...issue }}"
        for alias in numbers
    )
    paging = ", $reviewsFirst: Int!, $reviewsAfter: String" if pull_requests else ""
    fragments = [_ACTOR, *([_REVIEW, _PULL_REQUEST, _REVIEWS] if pull_requests else []), *([_ISSUE] if issues else [])]
    return (
        f"\nquery Items($owner: String!, $name: String!{variables}{paging}) {{\n  rateLimit {{ cost remaining }}\n"
        f"  repository(owner: $owner, name: $name) {{\n    databaseId\n    nameWithOwner\n    ...branch\n{items}\n"
        "  }\n}\n" + "".join([*fragments, _BRANCH])
    )


_HEAD = """
fragment head on Repository {
  databaseId
  pullRequests(first: 2, orderBy: {field: UPDATED_AT, direction: DESC}) {
    totalCount
    nodes { updatedAt }
  }
  issues(first: 2, orderBy: {field: UPDATED_AT, direction: DESC}) {
    totalCount
    nodes { updatedAt }
  }
}
"""


def heads_query(repositories: int) -> str:
    """Asks for the newest update of so many repositories, aliased `r0`, `r1`, ...

    Names go in as variables, `$o0` and `$n0` and so on, never into the text.
    """
    numbers = range(repositories)
    variables = ", ".join(f"$o{n}: String!, $n{n}: String!" for n in numbers)
    aliases = "\n".join(f"  r{n}: repository(owner: $o{n}, name: $n{n}) {{ ...head }}" for n in numbers)
    return f"query Heads({variables}) {{\n  rateLimit {{ cost remaining }}\n{aliases}\n}}\n{_HEAD}"


def counts_query(windows: int) -> str:
    """Asks what GitHub's search counts in so many windows of one repository, aliased `m0` (merged), `c0` (closed), ...

    The searches go in as variables of the same names; `repository` tells its name now, for search follows no renames.
    """
    aliases = [f"{letter}{n}" for n in range(windows) for letter in "mc"]
    variables = "".join(f", ${alias}: String!" for alias in aliases)
    searches = "\n".join(f"  {alias}: search(type: ISSUE, query: ${alias}) {{ issueCount }}" for alias in aliases)
    return (
        f"query Counts($owner: String!, $name: String!{variables}) {{\n  rateLimit {{ cost remaining }}\n"
        f"  repository(owner: $owner, name: $name) {{ nameWithOwner }}\n{searches}\n}}\n"
    )
