"""What the bridge asks Dagster's GraphQL API beyond what its client library has methods for."""

_RUN_FIELDS = """
    runId jobName status creationTime
    tags { key value }
    assetSelection { path }
    stepStats { stepKey status }
"""
RUNS = (
    "query Runs($filter: RunsFilter!, $limit: Int!) { runsOrError(filter: $filter, limit: $limit) {"
    "__typename ... on Runs { results {" + _RUN_FIELDS + "} } ... on Error { message } } }"
)
RUN = (
    "query Run($runId: ID!) { runOrError(runId: $runId) {"
    "__typename ... on Run {" + _RUN_FIELDS + "} ... on Error { message } } }"
)
EVENTS = """
query Events($runId: ID!, $after: String, $limit: Int!) {
  logsForRun(runId: $runId, afterCursor: $after, limit: $limit) {
    __typename
    ... on EventConnection {
      cursor hasMore
      events {
        __typename
        ... on ExecutionStepFailureEvent {
          stepKey errorSource
          error { message causes { message } }
          failureMetadata { description metadataEntries { label ... on BoolMetadataEntry { boolValue } } }
        }
        ... on EngineEvent { error { message } }
        ... on RunFailureEvent { message error { message } }
      }
    }
    ... on Error { message }
  }
}
"""
MATERIALIZATIONS = """
query Materializations($runId: ID!) {
  runOrError(runId: $runId) {
    __typename
    ... on Run {
      assetMaterializations {
        assetKey { path }
        partition
        metadataEntries { label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } }
      }
    }
    ... on Error { message }
  }
}
"""
LOCATION = """
query Location($selector: RepositorySelector!) {
  version
  repositoryOrError(repositorySelector: $selector) {
    __typename
    ... on Repository {
      jobs { name }
      assetNodes { assetKey { path } metadataEntries { label ... on TextMetadataEntry { text } } }
    }
    ... on Error { message }
  }
}
"""
