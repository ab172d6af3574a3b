"""GitHub's schema as it publishes it, which takes seconds to read."""

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need it stay in one process, so that it is read once."""
    for item in items:
        if "published" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("published"))


@pytest.fixture(scope="session")
def published(shared: Path) -> GraphQLSchema:
    """The schema that GitHub publishes."""
    return build_schema((shared / "github" / "schema.graphql").read_text())
