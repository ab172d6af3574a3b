"""Every query we send is one that GitHub's published schema answers, and the simulator's does too."""

from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from ledger_pipeline.sources.github import queries

QUERIES = {name: text for name, text in vars(queries).items() if name.isupper() and not name.startswith("_")}


def test_every_query_of_the_module_is_tested() -> None:
    assert set(QUERIES) == {"ACTIVITY", "MORE_REVIEWS"}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_validates_against_githubs_published_schema(name: str, shared: Path) -> None:
    schema = build_schema((shared / "github" / "schema.graphql").read_text(), assume_valid_sdl=True)
    assert validate(schema, parse(QUERIES[name])) == []


def test_a_query_with_a_field_github_lacks_is_reported(shared: Path) -> None:
    schema = build_schema((shared / "github" / "schema.graphql").read_text(), assume_valid_sdl=True)
    wrong = queries.ACTIVITY.replace("fullDatabaseId", "fullDatabaseIdentifier", 1)
    assert validate(schema, parse(wrong))
