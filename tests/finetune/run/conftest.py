"""A short training of several properties with all kinds of heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from mftscreen.model.files.bundle import Bundle, read_bundle
from mftscreen.writing import replacing

WEIGHTS = {"O": 2.0, "Si": 5.0, "Mg": 9.0}


CHARGES = {"O": -1.0, "Si": 2.0, "Mg": 0.5}


PROPERTIES = {
    "gap": {"label": "gap", "unit": "eV", "transform": "standardise"},
    "modulus": {"label": "modulus", "unit": "GPa", "transform": "log10"},
    "alpha": {"label": "polarizability", "head": "extensive", "loss": "mse"},
    "extent": {"label": "spatial extent", "unit": "Å^2", "head": "r2"},
    "mu": {"label": "dipole moment", "head": "dipole_norm"},
}


def _cluster(number: int) -> Atoms:
    """Return a cluster with labels by closed forms; every third has no gap."""
    rng = np.random.default_rng(number)
    symbols = rng.choice(list(WEIGHTS), size=3 + number % 2)
    corners = np.array([[0, 0, 0], [1.8, 0, 0], [0, 1.8, 0], [0, 0, 1.8]])
    positions = corners[: len(symbols)] + rng.normal(scale=0.1, size=(len(symbols), 3))
    atoms = Atoms("".join(symbols), positions)
    relative = positions - atoms.get_center_of_mass()
    weights, charges = (np.array([w[s] for s in symbols]) for w in (WEIGHTS, CHARGES))
    size = atoms.get_all_distances().mean()  # what the elements alone do not tell
    atoms.info = {
        "name": f"cluster-{number}",
        "modulus": 10.0 ** float(charges.mean() + 0.1 * size),
        "alpha": float(weights.sum() + size),
        "extent": float(weights @ (relative**2).sum(axis=1) + 0.1 * size),
        "mu": float(np.linalg.norm(charges @ relative)),
    }
    if number % 3:
        atoms.info["gap"] = 100.0 + float(weights.mean() + size)
    return atoms


@pytest.fixture(scope="module")
def clusters(folder: Path) -> list[Atoms]:
    clusters = [_cluster(number) for number in range(48)]
    parts = {"clusters": clusters[:40], "clusters-test": clusters[40:]}
    for name, part in parts.items():
        # another process may be reading them
        with replacing(folder / f"{name}.extxyz") as partial:
            write(partial, part, format="extxyz")
    return clusters


@pytest.fixture(scope="module")
def settings(clusters: list[Atoms]) -> dict[str, object]:
    return {
        "properties": {
            name: {**settings, "neurons": [8, 8]}
            for name, settings in PROPERTIES.items()
        },
        "data": {
            "train": ["clusters.extxyz"],
            "test": {"held out": "clusters-test.extxyz"},
            "validation_fraction": 0.2,
        },
    }


@pytest.fixture(scope="module")
def model_file(
    tune: Callable[..., Path], pretrained: Path, settings: dict[str, object]
) -> Path:
    training = {"steps": 40, "save_every": 20, "batch_size": 16}
    return tune(
        "several", "ft", pretrained=str(pretrained), training=training, **settings
    )


@pytest.fixture(scope="module")
def bundle(model_file: Path) -> Bundle:
    return read_bundle(model_file)
