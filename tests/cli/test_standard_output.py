"""Standard output that cannot take what is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from mftscreen.cli.standard_output import standard_output
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_full_disk_is_told_after_all_else() -> None:
    with Path("/dev/full").open("w") as full:
        code, text = run(full.fileno())
    assert code == 0
    assert text.startswith("summary standard output: cannot be written: No space left")
