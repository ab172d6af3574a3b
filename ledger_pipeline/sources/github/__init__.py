"""GitHub as a source, over its GraphQL API."""
