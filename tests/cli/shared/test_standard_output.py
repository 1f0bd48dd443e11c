"""Standard output that cannot take what is written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from ase.build import bulk
from ase.io import write

from mftscreen.cli import main
from mftscreen.cli.shared.standard_output import from_elsewhere, standard_output
from mftscreen.errors import DataError

PROGRAM = """
import sys
from mftscreen.cli.shared.standard_output import standard_output
problems = []
with standard_output(problems) as stream:
    for k in range(100_000):
        stream.write("line\\n")
print("summary", *problems, file=sys.stderr)
"""


def run(stdout: int) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stderr


def test_a_pipe_that_closes_early_is_no_problem() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert run(writer) == (0, "summary\n")
    os.close(writer)


@pytest.mark.parametrize("line", ["models list", "recipes list", "explain"])
def test_every_command_ends_quietly_without_a_reader(
    line: str,
    unread: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout", unread)
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("has_reader", [False, True])
def test_another_pipe_that_breaks_is_no_success(
    has_reader: bool, unread: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_pipe(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("click.Group.invoke", break_pipe)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader):
        monkeypatch.setattr("sys.stdout", stream if has_reader else unread)
        with pytest.raises(SystemExit) as ended:
            main(["models", "list"])
        assert ended.value.code == has_reader


def test_nothing_is_a_success_where_nobody_reads(
    unread: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", unread)
    monkeypatch.setattr("sys.stderr", unread)
    with pytest.raises(SystemExit) as ended:
        main(["models", "list"])
    assert ended.value.code == 1


def test_errors_of_the_rows_are_not_those_of_standard_output() -> None:
    def rows() -> Iterator[str]:
        yield "one"
        raise BrokenPipeError(errno.EPIPE, "of a worker")

    problems: list[DataError] = []
    with (
        pytest.raises(BrokenPipeError, match="of a worker"),
        standard_output(problems),
    ):
        list(from_elsewhere(rows()))
    assert not problems


@pytest.mark.slow
@pytest.mark.parametrize(("command", "closed"), [("predict", ">&-"), ("rank", "2>&-")])
def test_closed_streams_are_no_problem(
    tmp_path: Path, tiny_model: Path, command: str, closed: str
) -> None:
    write(tmp_path / "pool.extxyz", [bulk("MgO", "rocksalt", a=4.2), bulk("Si")])
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -m mftscreen "$@" {closed}', sys.executable,
         command, "pool.extxyz", "-p", "gap", "-m", str(tiny_model)],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert bool(ended.stdout) == (command == "rank")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_full_disk_is_told_after_all_else() -> None:
    with Path("/dev/full").open("w") as full:
        code, text = run(full.fileno())
    assert code == 0
    assert text.startswith("summary standard output: cannot be written: No space left")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("full", "code", "error"),
    [(True, 1, "Error: standard output: cannot be written: No space"), (False, 0, "")],
    ids=["full disk", "closed pipe"],
)
def test_table_that_is_not_taken(
    tmp_path: Path,
    tiny_model: Path,
    start_copy: Callable[..., Any],
    full: bool,
    code: int,
    error: str,
) -> None:
    write(tmp_path / "pool.extxyz", [bulk("MgO", "rocksalt", a=4.2), bulk("Si")])
    reader, writer = os.pipe()
    os.close(reader)
    if full:
        os.dup2(os.open("/dev/full", os.O_WRONLY), writer)
    arguments = ["rank", "pool.extxyz", "-q", "-m", str(tiny_model), "-o", "all.csv"]
    with (tmp_path / "errors").open("w") as errors:
        ended = start_copy(
            "from mftscreen.cli import main; main()",
            [*arguments, "--format", "csv"],
            tmp_path, writer, errors.fileno(),
        ).wait(200)  # fmt: skip
    os.close(writer)
    told = (tmp_path / "errors").read_text()
    assert ended == code, told
    *_, summary, last = ["", *told.splitlines(), *[""] * (not error)]
    assert summary.startswith("2 candidates: 2 predicted")
    assert last.startswith(error)
    assert "Traceback" not in told
    assert (tmp_path / "all.csv").read_text().count(",False,ok,") == 2


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    program = (
        "from mftscreen.cli.shared.standard_output import replace_closed_streams\n"
        "replace_closed_streams(); print('ü', chr(0xdce9))"
    )
    for encoding, expected in (("ascii", r"\xfc \udce9"), ("utf-8", r"ü \udce9")):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            stdout=subprocess.PIPE, timeout=60, check=True,
        )  # fmt: skip
        assert ended.stdout.decode() == f"{expected}\n"
