"""The search for model files that do harm, cut short."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile_models.py"


@pytest.mark.slow
def test_no_model_file_does_more_than_load(
    tmp_path: Path, start_copy: Callable[..., Any]
) -> None:
    # an audit hook stays for the life of a process, so that it gets one of its own
    program = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    arguments = ["--trees", "20", "--files", "20", "--seed", "1"]
    with (tmp_path / "output").open("w") as output:
        files = output.fileno(), output.fileno()
        code = start_copy(program, arguments, tmp_path, *files).wait(200)
    told = (tmp_path / "output").read_text()
    assert code == 0, told
    assert "opened, executed or connected to: nothing" in told
    assert "UNTYPED" not in told
    for kind in ("trees", "files"):
        assert f"{kind} {{'ModelFileError'" in told
    # they get as far as the network, which some do not harm
    assert re.search("trees .*'loaded': [1-9]", told)


def test_the_watch_notices(tmp_path: Path) -> None:
    """What it looks for is seen by it, or the script could not fail."""
    (tmp_path / "secret").write_text("x")
    program = f"""
import os, pickle, socket, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import hostile_models as h
sys.addaudithook(h.watch)
h._watching = True
open({str(tmp_path / "secret")!r}).close()
socket.socket().close()
os.rename({str(tmp_path / "secret")!r}, {str(tmp_path / "other")!r})
pickle.loads(pickle.dumps(print))
h._watching = False
print(sorted(event.split()[0] for event in h.watched))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (
        "['open', 'os.rename', 'pickle.find_class', 'socket.__new__']" in done.stdout
    ), done.stderr
