"""How threads wait."""

from __future__ import annotations

import os
import subprocess
import sys

from mftscreen.finetune.run.launch import _environment
from mftscreen.threads import wait_politely


def test_what_is_said_counts() -> None:
    found = {"GOMP_SPINCOUNT": "7"}
    wait_politely(found)
    assert found == {"GOMP_SPINCOUNT": "7"}


def test_trainers_and_commands_wait_politely() -> None:
    assert "GOMP_SPINCOUNT" in _environment(None)
    program = (
        "import sys; from mftscreen.cli import main\n"
        "main(['explain', '--help'], standalone_mode=False)\n"
        "import os; assert os.environ['GOMP_SPINCOUNT'] == '1000'\n"
        "assert 'torch' not in sys.modules"  # which would have looked before
    )
    environment = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
