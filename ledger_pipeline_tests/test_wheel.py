"""The wheel works where there is no clone: it has the templates and the migrations, and its command runs."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ledger-pipeline` of an environment that has the wheel, and its dependencies from ours."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    install = [str(uv), "pip", "install", "--offline", "--no-deps", "--python", str(python), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    [packages] = environment.glob("lib/python*/site-packages")
    # A path alone: what makes our own checkout importable there is not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return environment / "bin" / "ledger-pipeline"


def run(command: Path, folder: Path, *arguments: str, **environment: str) -> str:
    """What a command printed, in a folder that is no clone."""
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), **environment}
    ran = subprocess.run([str(command), *arguments], cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_it_migrates_a_database_and_writes_a_page(command: Path, empty_database_url: str, tmp_path: Path) -> None:
    write_repo_spec(tmp_path, REPO)
    assert "collect" in run(command, tmp_path, "--help")
    run(command, tmp_path, "db", "upgrade", DATABASE_URL=empty_database_url)
    run(command, tmp_path, "report", "--all", "--output", "all.html", DATABASE_URL=empty_database_url)
    assert "None is in the ledger." in (tmp_path / "all.html").read_text()
