"""Short real trainings: data, a pretrained model, and how to run a configuration."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen import MFTCalculator
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run import launch
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.strategies import (
    MFTConfig,
)
from mftscreen.testing import FakeModel

DESCRIPTOR = {
    "n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4,
    "edge_cutoff": 4.0, "angle_cutoff": 3.0,
}  # fmt: skip
TRAINING = {"steps": 6, "save_every": 3, "batch_size": 16}


def _crystals(n: int) -> list[Atoms]:
    """Return rattled crystals labelled by the closed-form model."""
    rng = np.random.default_rng(n)
    kinds = [
        bulk("MgO", "rocksalt", a=4.2),
        bulk("Si", cubic=True),
        bulk("SiO", "zincblende", a=4.6),
    ]
    crystals = []
    for k in range(n):
        atoms = kinds[k % 3].copy()
        atoms.set_cell(atoms.cell * rng.uniform(0.95, 1.1), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        frozen = MFTCalculator(FakeModel()).freeze(atoms)
        frozen.info["name"] = f"crystal-{k}"
        crystals.append(frozen)
    return crystals


@pytest.fixture(scope="session", autouse=True)
def warm_trainer(start_copy: Callable[..., Any]) -> Iterator[None]:
    """Let trainings on one thread be copies of a process that has imported all."""
    cold = launch.build_command(python=sys.executable)[:3]
    program = f"from {cold[-1]} import main; main()"

    def popen(command: list[str], *, env: dict[str, str], **options: Any) -> Any:
        if command[:3] != cold or env["OMP_NUM_THREADS"] != "1":
            return subprocess.Popen(command, env=env, **options)
        log = options["stdout"].fileno()
        arguments, folder = command[3:], options["cwd"]
        return start_copy(program, arguments, folder, log, log, *options["pass_fds"])

    replaced = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "subprocess", replaced)
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with labelled crystals, where configurations are written.

    Processes that divide the tests among them have it in common.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "training"
    folder.mkdir(exist_ok=True)
    with _locked(folder / "crystals.lock"):
        if not (folder / "test.extxyz").exists():
            crystals = _crystals(40)
            write(folder / "crystals.extxyz", crystals[:30])
            write(folder / "test.extxyz", crystals[30:])
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def write_config(folder: Path) -> Callable[..., Path]:
    """Return what writes a configuration, most of which is there by default."""

    def write_config(name: str, strategy: str, **settings: object) -> Path:
        document = {"name": name, "strategy": strategy, "training": TRAINING}
        if strategy != "pretrain":
            document |= {
                "properties": {"softness": {"label": "softness", "neurons": [8, 8]}},
                "data": {
                    "train": ["crystals.extxyz"],
                    "test": {"held out": "test.extxyz"},
                },
            }
        if strategy in ("pretrain", "scratch"):
            document["descriptor"] = DESCRIPTOR
        path = folder / f"{name}.yaml"
        document |= settings
        document = {key: value for key, value in document.items() if value is not None}
        path.write_text(yaml.safe_dump(document))
        return path

    return write_config


@pytest.fixture(scope="session")
def tune(folder: Path, write_config: Callable[..., Path]) -> Callable[..., Path]:
    """Return what writes a configuration and trains by it; the folder has its name.

    What another process of these tests has trained is taken.
    """

    def tune(name: str, strategy: str, **settings: object) -> Path:
        with _locked(folder / f"{name}.lock"):
            if (model := folder / name / "model.mft").exists():
                return model
            config = load_config(write_config(name, strategy, **settings))
            return run_training(config, folder / name, threads=1)

    return tune


@pytest.fixture(scope="session")
def pretrained(tune: Callable[..., Path]) -> Path:
    """Return a model with two force-field heads."""
    return tune(
        "pretrained",
        "pretrain",
        branches={
            "first": {"data": ["crystals.extxyz"]},
            "second": {"data": ["test.extxyz"]},
        },
        energy_head="first",
    )


@pytest.fixture(scope="session")
def sevennet_file(folder: Path, sevennet_backbone: Path) -> Path:
    """Return a model of 7net's kind, the same file in all processes."""
    path = folder / "sevennet.pt"
    with _locked(folder / "sevennet.lock"):
        if not path.exists():
            path.write_bytes(sevennet_backbone.read_bytes())
    return path


@pytest.fixture(scope="session")
def fine_tuned(tune: Callable[..., Path], pretrained: Path) -> Path:
    """Return the model of a run that is not to be changed, ``ft.yaml``'s."""
    return tune("ft", "ft", pretrained=str(pretrained))


@pytest.fixture(scope="session")
def from_scratch(tune: Callable[..., Path]) -> Path:
    """Return the model of a run that is not to be changed, ``scratch.yaml``'s."""
    return tune("scratch", "scratch")


MFT = """\
strategy: mft
name: shear
properties: {log_gvrh: {label: shear modulus, unit: log10(GPa)}}
data: {train: [rows.extxyz], test: {more: more.extxyz}}
pretrained: mft-mini
auxiliary: {head: crystals, data: [frames.extxyz], aux_prob: 0.3, lambda_reg: 0.02}
training: {steps: 4000, save_every: 250, batch_size: 96, seed: 5, layer_decay: 0.8}
"""


@pytest.fixture
def mft(tmp_path: Path) -> MFTConfig:
    path = tmp_path / "mft.yaml"
    path.write_text(MFT)
    config = load_config(path)
    assert isinstance(config, MFTConfig)
    return config
