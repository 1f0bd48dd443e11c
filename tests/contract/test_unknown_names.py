"""Whatever has a name: one that nothing has is refused with the closest one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import main

CONFIG = """\
strategy: {strategy}
name: gaps
properties: {{gap: {{column: band_gap}}}}
data: {{train: [rows.extxyz]}}
pretrained: {pretrained}
training: {{{steps}: 10}}
"""
KNOWN = {"strategy": "ft", "pretrained": "mft-mini-crystals", "steps": "steps"}


@pytest.fixture(scope="module")
def folder(
    tiny_model: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Candidates, labelled rows, a model, configurations and a screening."""
    folder = tmp_path_factory.mktemp("names")
    crystals = [bulk("MgO", "rocksalt", a=4.1 + 0.1 * k) for k in range(4)]
    with connect(folder / "pool.db") as database:
        for atoms in crystals:
            database.write(atoms, colour="red")
    for k, atoms in enumerate(crystals):
        atoms.info["band_gap"] = float(k)
    write(folder / "rows.extxyz", crystals)
    (folder / "gap.mft").symlink_to(tiny_model)
    (folder / "heads.pt").symlink_to(checkpoint)
    wrong = {"strategy": "mtf", "pretrained": "mft-mni-crystals", "steps": "step"}
    for key, value in wrong.items():
        (folder / f"{key}.yaml").write_text(CONFIG.format(**{**KNOWN, key: value}))
    pool, model = str(folder / "pool.db"), str(folder / "gap.mft")
    arguments = ["rank", pool, "-m", model, "--run", str(folder / "run"), "-q"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return folder


CASES = {
    "command": ("predct", "predict"),
    "command of a group": ("results shwo run", "show"),
    "model": ("predict pool.db -m mft-mni", "mft-mini"),
    "model to rank by": ("rank pool.db -p gap -m mft-mni", "mft-mini"),
    "slower model": ("rank pool.db -p gap -m gap.mft --then mft-mni", "mft-mini"),
    "model to show": ("models show 7net_0a", "7net-0"),
    "model to download": ("models download dpa-3.1-3m", "DPA-3.1-3M"),
    "model to export": ("models export mft-mni -o a.pt", "mft-mini"),
    "model to diagnose": ("diagnose mft-mni --against gap.mft", "mft-mini"),
    "property": ("rank pool.db -m gap.mft -p gpa", "gap"),
    "property of a collection": ("rank pool.db -p dielectrc", "dielectric"),
    "property to predict": ("predict pool.db -m gap.mft -p gpa", "gap"),
    "goal": ("rank pool.db -m gap.mft -g gpa:max", "gap"),
    "goal of a screening": ("results show run -g gpa:max", "gap"),
    "property of a reference set": ("ood score pool.db -m gap.mft -p gpa", "gap"),
    "energy head": ("predict pool.db -m gap.mft --energy-head oxide", "oxides"),
    "head of a checkpoint": (
        "predict pool.db -m heads.pt --energy-head oxid",
        "oxides",
    ),
    "head to export": ("models export gap.mft --head oxide -o a.pt", "oxides"),
    "property with a unit": (
        "models import heads.pt --energy-head oxides --unit gpa=eV -o a.mft",
        "gap",
    ),
    "strategy": ("finetune steps.yaml --strategy kernl", "kernel"),
    "strategies": ("finetune steps.yaml --compare ft,kernl", "kernel"),
    "strategy of a configuration": ("finetune strategy.yaml", "mft"),
    "model of a configuration": ("finetune pretrained.yaml", "mft-mini-crystals"),
    "key of a configuration": ("finetune steps.yaml", "steps"),
    "choice": ("rank pool.db -p gap --by parto", "pareto"),
    "recipe": ("recipes show mft/dielectrics", "mft/dielectric"),
    "recipe to copy": ("recipes copy mft/dielectrics a", "mft/dielectric"),
    "column of results": ("results query run 'gpa > 1'", "gap"),
    "column of data": ("data describe rows.extxyz -p bandgap", "band_gap"),
    "column to convert": ("data convert rows.extxyz a.db -p bandgap", "band_gap"),
    "column to split": (
        "split rows.extxyz --column bandgap --method random",
        "band_gap",
    ),
    "column to carry": ("results export run a.csv --carry color", "colour"),
    "column of ids": ("rank pool.db -m gap.mft --id-key color", "colour"),
    "data set": ("data download matbench_dielectrics", "matbench_dielectric"),
    "method of splits": ("split rows.extxyz --column band_gap --method loko", "loco"),
    "condition of a study": ("study show run --only strategi=ft", "strategy"),
    "error": ("explain DataEror", "DataError"),
    "status": ("explain unknown_elements", "unknown_element"),
}


@pytest.mark.parametrize(("line", "meant"), CASES.values(), ids=CASES)
def test_a_close_name_is_suggested(
    folder: Path, line: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, shlex.split(line))
    assert done.exit_code in (1, 2)
    assert f"did you mean {meant!r}?" in " ".join(done.stderr.split())
