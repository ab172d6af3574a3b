"""Every source that the ledger knows can be opened by its entry, and is what the entry says."""

import pytest

from ledger_pipeline.core.errors import ConfigurationError, SettingsError
from ledger_pipeline.core.sources import SOURCES, SourceKind
from ledger_pipeline.settings import read_settings
from ledger_pipeline.sources.registry import open_source


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.name)
def test_the_function_that_an_entry_names_opens_the_source_that_it_describes(kind: SourceKind) -> None:
    with open_source(read_settings({"github_token": "any"}), kind.name, page_size=7) as source:
        assert (source.name, source.streams, source.producer) == (kind.name, kind.stream_names, kind.producer)
        assert source.page_size == 7


def test_settings_that_do_not_suffice_are_told_when_it_is_opened() -> None:
    nothing = dict.fromkeys(("github_token", "github_tokens", "github_app_id"))
    with pytest.raises(SettingsError, match="GITHUB_TOKEN is not set"), open_source(read_settings(nothing), "github"):
        pass


def test_what_is_no_source_is_refused_naming_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"^'gitlab' is no source of this ledger: github$"):
        open_source(read_settings({}), "gitlab")
