"""How threads wait."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mftscreen.finetune.run.launch import _environment
from mftscreen.threads import wait_politely


def test_what_is_said_counts() -> None:
    found = {"GOMP_SPINCOUNT": "7"}
    wait_politely(found)
    assert found == {"GOMP_SPINCOUNT": "7"}
    policy = {"OMP_WAIT_POLICY": "ACTIVE"}
    wait_politely(policy)
    assert "GOMP_SPINCOUNT" not in policy


def test_trainers_and_commands_wait_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert _environment(None)["GOMP_SPINCOUNT"] == "1000"
    program = (
        "import sys; from mftscreen.cli import main\n"
        "main(['explain', '--help'], standalone_mode=False)\n"
        "import os; assert os.environ['GOMP_SPINCOUNT'] == '1000'\n"
        "assert 'torch' not in sys.modules"  # which would have looked before
    )
    subprocess.run([sys.executable, "-c", program], check=True)
