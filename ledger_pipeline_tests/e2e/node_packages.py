"""Packages of npm and scripts that use them, for what other people's JavaScript must agree with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path, *packages: str) -> str:
    """`node`, with `packages` where scripts in `folder` find them; without npm it is skipped, and fails in CI."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        leave_out = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave_out("no node and npm here")
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder, *packages],
        check=True,
        capture_output=True,
        timeout=240,
    )
    return node


def answer_of(node: str, script: Path, *arguments: str, given: str, timeout_seconds: float = 60) -> str:
    """What the script prints that is `given` this on its standard input."""
    ran = subprocess.run(
        [node, script, *arguments],
        input=given,
        check=False,
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=timeout_seconds,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
