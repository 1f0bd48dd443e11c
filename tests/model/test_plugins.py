from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mftscreen.head_forms import HEAD_FORMS
from mftscreen.model.backbones import _architectures, plugins

PROGRAM = """
import {module}
from deepmd.pt.model.descriptor import BaseDescriptor
from deepmd.pt.model.task import Fitting
print(*BaseDescriptor.get_plugins(), *Fitting.get_plugins())
"""


def test_deepmd_is_led_to_all_plugins() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["deepmd.pt"]
    assert points == {"mftscreen": "mftscreen.model.plugins"}


@pytest.mark.slow
def test_importing_it_registers_descriptors_and_heads() -> None:
    program = PROGRAM.format(module="mftscreen.model.plugins")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    registered = set(done.stdout.split())
    of_plugins = {kind.kind for kind in _architectures() if kind.plugin is not None}
    assert len(of_plugins) == len(plugins())
    assert "sevennet" in of_plugins <= registered
    assert {form.fitting for form in HEAD_FORMS.values()} <= registered
