"""What leads deepmd-kit to plugins; that it follows is tested with the heads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def test_deepmd_is_led_to_all_plugins() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["deepmd.pt"]
    assert points == {"mftscreen": "mftscreen.model.plugins"}


PACKAGE = {
    "mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n",
    "mine-1.0.dist-info/entry_points.txt": (
        "[mftscreen.backbones]\nmine = mine_kind:Mine\n"
    ),
    "mine_kind.py": """
from mftscreen.model.backbones.seam import Architecture
class Mine(Architecture):
    kind = "mine"
    plugin = "mine_descriptor"
""",
    "mine_descriptor.py": "raise OSError('libmine.so is not there')",
}


@pytest.mark.slow
def test_one_of_another_package_that_breaks_costs_no_other_model(
    tmp_path: Path, tiny_model: Path
) -> None:
    for name, content in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    program = (
        "import sys\nfrom mftscreen import load_model\n"
        "for _ in range(2): print(*load_model(sys.argv[1]).properties)"
    )
    paths = (str(tmp_path), os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_model)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "gap\ngap\n"), done.stderr
    said = [line for line in done.stderr.splitlines() if "mine_descriptor" in line]
    assert said == [
        "the plug-in mine_descriptor cannot be imported: libmine.so is not there"
    ]
