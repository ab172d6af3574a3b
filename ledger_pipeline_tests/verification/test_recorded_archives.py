"""Archives that earlier releases wrote, each named for the migration its ledger was at: they verify for ever."""

from pathlib import Path

import pytest

from ledger_pipeline_tests.command_line import Command

ARCHIVES = sorted((Path(__file__).parent / "archives").glob("*.zip"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_an_archive_that_an_earlier_release_wrote_still_verifies(archive: Path, command: Command) -> None:
    verified = command("verify", "--archive", str(archive))
    assert (verified.code, verified.err) == (0, "")
    assert "every number follows from the rows before it, and the signatures are good" in verified.out


def test_there_are_some() -> None:
    assert ARCHIVES
