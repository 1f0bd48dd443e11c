"""Errors explained on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from generated_pages.errors import error_classes

from mftscreen.cli import _public_name, main
from mftscreen.cli.explain import STATUSES, known_faults
from mftscreen.errors import DataError


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["explain", *arguments])
    assert result.exit_code == 0
    return result.stdout


def test_all_errors_are_known() -> None:
    assert set(known_faults().values()) == set(error_classes())
    listed = [line.split()[0] for line in _run().splitlines()]
    errors = sorted(kind.__name__ for kind in error_classes())
    assert listed == [*errors, *STATUSES]


def test_an_error_has_a_cause_and_a_remedy() -> None:
    text = _run("DataError")
    assert text.startswith("DataError: A data set, or one of its rows, cannot be used.")
    assert "\n\nCause: " in text
    assert "\n\nRemedy: " in text
    assert "Parameters" not in text
    assert "`" not in text


def test_a_status_is_that_of_its_error() -> None:
    assert _run("unknown_element") == _run("UnknownElementError")


def test_a_status_without_an_error_of_its_own() -> None:
    assert _run("relaxation_failed").startswith("relaxation_failed: the relaxation")


def test_an_unknown_name_is_an_error() -> None:
    result = CliRunner().invoke(main, ["explain", "Nothing"])
    assert result.exit_code == 1
    assert "no error or status 'Nothing'" in result.stderr


def test_a_private_error_has_the_name_of_its_parent() -> None:
    class _LocalError(DataError):
        pass

    assert _public_name(_LocalError("x")) == "DataError"


@pytest.mark.parametrize("terminal", [True, False])
def test_errors_on_a_terminal_name_the_command(terminal: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mftscreen", "models", "show", "absent.mft"]
    reader, writer = os.openpty() if terminal else os.pipe()
    with os.fdopen(reader, "rb") as told:
        done = subprocess.run(command, cwd=tmp_path, stderr=writer, check=False)
        text = os.read(told.fileno(), 4096).decode()
        os.close(writer)
    assert done.returncode == 1
    assert text.startswith("Error: absent.mft: no such file")
    assert ("See 'mftscreen explain ModelFileError'" in text) == terminal
    assert terminal or text.count("\n") == 1
