"""Distributions beside ours, as an installer lays them down: what a DAO brings to a deployment."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., None]


@pytest.fixture
def install_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with one module, and entry points of a group, for the length of the test."""

    def install(distribution: str, group: str, entry_points: str, module: str) -> None:
        folder = tmp_path / distribution
        metadata = folder / f"{distribution}-1.4.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{distribution}.py").write_text(module)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.4\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry_points}\n")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, distribution, raising=False)

    return install
