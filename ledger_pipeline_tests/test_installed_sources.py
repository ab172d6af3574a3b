"""A DAO's own source is installed beside us: known where a repo-spec or an archive names it, and to the database."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger_pipeline.core import sources
from ledger_pipeline.core.errors import ConfigurationError, SpecError
from ledger_pipeline.core.sources import find_source_kind
from ledger_pipeline.installed_sources import GROUP, know_installed
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.store import migrations
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.distributions import Install

MODULE = "from ledger_pipeline_tests.sources.chat import CHAT\n"
ENTRY_POINT = "chat = acme_chat:CHAT"


@pytest.fixture(autouse=True)
def _sources_are_known_for_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_registry", sources._registry)


def spec_that_names_it(folder: Path) -> Path:
    path = write_repo_spec(folder, REPO)
    section = "    chat: {credit_estimate_algo: cogni-v0.0, source_refs: [general]}\n"
    path.write_text(path.read_text().replace("    github:\n", f"{section}    github:\n"))
    return path


def test_a_repo_spec_that_names_it_makes_it_known(tmp_path: Path, install_distribution: Install) -> None:
    install_distribution("acme_chat", GROUP, ENTRY_POINT, MODULE)
    assert find_source_kind("chat") is None
    for _ in range(2):
        scope = load_repo_spec(spec_that_names_it(tmp_path)).default_scope
        assert [spec.source for spec in scope.sources] == ["github", "chat"]
        assert scope.weights_milli["chat:message_sent"] == 20
    kind = find_source_kind("chat")
    assert kind is not None
    assert kind.opened_by == "ledger_pipeline_tests.sources.chat:open_chat"


def test_where_it_is_not_installed_the_repo_spec_is_refused_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"activity_sources\.chat: is not a key of this section; known here: github"):
        load_repo_spec(spec_that_names_it(tmp_path))


def test_one_that_no_repo_spec_names_is_left_alone_however_broken(
    tmp_path: Path, install_distribution: Install
) -> None:
    install_distribution("acme_chat", GROUP, ENTRY_POINT, "raise OSError")
    load_repo_spec(write_repo_spec(tmp_path, REPO))
    assert find_source_kind("chat") is None


@pytest.mark.parametrize(
    ("entry_point", "module", "message"),
    [
        (ENTRY_POINT, "raise OSError('no disk')", "cannot be loaded: OSError: no disk"),
        (ENTRY_POINT, "CHAT = 7", "is no source: it lacks name, title, streams"),
        ("talk = acme_chat:CHAT", MODULE, "calls itself 'chat'"),
    ],
)
def test_one_that_is_broken_is_one_clear_error(
    install_distribution: Install, entry_point: str, module: str, message: str
) -> None:
    install_distribution("acme_chat", GROUP, entry_point, module)
    with pytest.raises(ConfigurationError, match=f"of acme_chat {message}"):
        know_installed(["chat", "talk"])


def test_one_that_takes_a_name_of_ours_is_refused(install_distribution: Install) -> None:
    clash = "from dataclasses import replace\nfrom ledger_pipeline.core.sources import source_kind\n"
    install_distribution(
        "acme_chat", GROUP, ENTRY_POINT, f"{clash}CHAT = replace(source_kind('github'), name='chat')\n"
    )
    with pytest.raises(ConfigurationError, match="another source has its stream 'pull_requests'"):
        know_installed(["chat"])


def test_the_database_knows_it_from_the_next_upgrade_on(
    ledger_url: str, ledger_engine: Engine, install_distribution: Install
) -> None:
    install_distribution("acme_chat", GROUP, ENTRY_POINT, MODULE)
    migrations.upgrade(ledger_url)
    with ledger_engine.connect() as connection:
        query = "SELECT prosrc FROM pg_proc WHERE oid = 'ledger_refuse_unknown_sources'::regproc"
        assert "('chat', 'message_sent')" in connection.exec_driver_sql(query).scalar_one()


def test_who_names_none_looks_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("ledger_pipeline.plugins.entry_points")
    know_installed(["github"])
    load_repo_spec(write_repo_spec(tmp_path, REPO))
    with pytest.raises(NameError):
        know_installed(["chat"])
