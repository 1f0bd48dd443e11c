"""A model file of the shipped weights, and the rows that it was made of."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen import load_model
from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.outcome.model_card import write_model
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.task import Task
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.transforms import Transform

CONFIG = {
    "strategy": "mft",
    "name": "test",
    "pretrained": "mft-mini",
    "properties": {"dielectric": {"label": "refractive index"}},
    "data": {"train": ["unused"]},
    "training": {"steps": 1},
    "auxiliary": {"head": "crystals", "data": ["unused"]},
}


def labelled(name: str, atoms: Atoms, value: float) -> LabelledStructure:
    return LabelledStructure(name, atoms, {"dielectric": np.asarray(value)})


TRAIN = [
    labelled(f"t{k}", bulk("NaCl", "rocksalt", a=5.4 + 0.02 * k), 1.5)
    for k in range(12)
]


VALIDATION = [
    # sizes in such an order that batches mix them
    labelled("cubic", bulk("NaCl", "rocksalt", a=5.51, cubic=True), 1.6),
    labelled("repeated", TRAIN[3].atoms.copy(), 1.5),
    labelled("new element", bulk("KCl", "rocksalt", a=5.51), 1.4),
    labelled("molecule", molecule("NaCl"), 1.1),
    labelled("dense", bulk("NaCl", "rocksalt", a=4.6), 1.9),
]


@pytest.fixture
def rows() -> dict[str, list[LabelledStructure]]:
    """Rows of training and validation; the latter repeat one, and have other atoms."""
    return {"train": TRAIN, "validation": VALIDATION}


@pytest.fixture
def config() -> MFTConfig:
    return MFTConfig.model_validate(CONFIG)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("card") / "model.mft"
    shipped = read_bundle(resolve_model("mft-mini")[0])
    atoms = bulk("Si")
    labels = {"energy": np.asarray(-10.0), "force": np.full((2, 3), 0.1)}
    crystals = [LabelledStructure("si", atoms, labels)]
    rows = {"train": TRAIN, "validation": VALIDATION, "held out": TRAIN[:2]}
    rows["without labels"] = []
    config = MFTConfig.model_validate(CONFIG)
    task = Task(
        config,
        TrainingData(
            rows,
            ["dielectric"],
            {"crystals": {"train": crystals, "validation": crystals}},
        ),
        type_map=load_model().type_map,
        state=None,
        pretrained_sha256="",
        specs={
            spec.name: spec
            for name, settings in config.properties.items()
            for spec in settings.specs(name, [Transform()])
        },
    )
    write_model(path, task, shipped.checkpoint, {})
    return read_bundle(path)
