"""The GraphQL queries we send, whole; every one validates against GitHub's published schema in a test.

One request carries a page of pull requests with their reviews and a page of issues: 100 of each with 100 nested
reviews cost one or two points. Fields that make GitHub compute a diff (additions, changedFiles) are left out: they
are what turns a page of a hundred into a 502.
"""

_ACTOR = """
fragment actor on Actor {
  __typename
  login
  ... on User { databaseId }
}
"""

_REVIEW = """
fragment review on PullRequestReview {
  fullDatabaseId
  state
  submittedAt
  url
  author { ...actor }
}
"""

# `pullRequests` takes no `since`: it is read newest update first until older than the floor. `issues` takes one.
ACTIVITY = (
    """
query Activity(
  $owner: String!, $name: String!,
  $withPullRequests: Boolean!, $pullRequestsFirst: Int!, $pullRequestsAfter: String, $withReviews: Boolean!,
  $withIssues: Boolean!, $issuesFirst: Int!, $issuesAfter: String, $issuesSince: DateTime
) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    nameWithOwner
    pullRequests(
      first: $pullRequestsFirst, after: $pullRequestsAfter, orderBy: {field: UPDATED_AT, direction: DESC}
    ) @include(if: $withPullRequests) {
      pageInfo { hasNextPage endCursor }
      nodes {
        fullDatabaseId
        number
        title
        url
        createdAt
        updatedAt
        mergedAt
        baseRefName
        author { ...actor }
        reviews(first: 100) @include(if: $withReviews) {
          pageInfo { hasNextPage endCursor }
          nodes { ...review }
        }
      }
    }
    issues(
      first: $issuesFirst, after: $issuesAfter, orderBy: {field: UPDATED_AT, direction: DESC},
      filterBy: {since: $issuesSince}
    ) @include(if: $withIssues) {
      pageInfo { hasNextPage endCursor }
      nodes {
        fullDatabaseId
        number
        title
        url
        createdAt
        updatedAt
        closedAt
        stateReason
        author { ...actor }
      }
    }
  }
}
"""
    + _ACTOR
    + _REVIEW
)

# The rest of the reviews of one pull request that has more than a page of them.
MORE_REVIEWS = (
    """
query MoreReviews($owner: String!, $name: String!, $number: Int!, $after: String!) {
  rateLimit { cost remaining }
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviews(first: 100, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { ...review }
      }
    }
  }
}
"""
    + _ACTOR
    + _REVIEW
)
