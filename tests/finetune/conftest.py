"""Short real trainings: data, a pretrained model, and how to run a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen import MFTCalculator
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.testing import FakeModel

DESCRIPTOR = {
    "n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4,
    "edge_cutoff": 4.0, "angle_cutoff": 3.0,
}  # fmt: skip
TRAINING = {"steps": 12, "save_every": 6, "batch_size": 16}


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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with labelled crystals, where configurations are written."""
    folder = tmp_path_factory.mktemp("training")
    crystals = _crystals(40)
    write(folder / "crystals.extxyz", crystals[:30])
    write(folder / "test.extxyz", crystals[30:])
    return folder


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
    """Return what writes a configuration and trains by it; the folder has its name."""

    def tune(name: str, strategy: str, **settings: object) -> Path:
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
