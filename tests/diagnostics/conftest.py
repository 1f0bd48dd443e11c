"""A checkpoint and what training on something else could have made of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import Diagnosis, DiagnosisOptions, diagnose
from mftscreen.model.network.backend import DeepmdNetwork


def move_descriptor(checkpoint: bytes, amount: float) -> bytes:
    """Return a checkpoint whose descriptor's weights are changed a little."""
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    state = content["model"]
    for name, value in state.items():
        if ".descriptor." in name and name.endswith((".matrix", ".bias")):
            # the same change for all heads, which share the descriptor
            generator = torch.Generator().manual_seed(
                sum(name.split(".", 2)[2].encode())
            )
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            state[name] = value + amount * noise
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def moved_checkpoint(checkpoint: Path) -> Path:
    path = checkpoint.with_name("moved.pt")
    path.write_bytes(move_descriptor(checkpoint.read_bytes(), 0.1))
    return path


@pytest.fixture(scope="session")
def pretrained(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint, "cpu")


@pytest.fixture(scope="session")
def fine_tuned(moved_checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(moved_checkpoint, "cpu")


@pytest.fixture(scope="session")
def structures() -> list[Atoms]:
    """Water and crystals, no two alike."""
    found = []
    for k in range(6):
        for atoms in (
            molecule("H2O"),
            bulk("MgO", "rocksalt", a=4.2, cubic=True),
            bulk("GaAs", "zincblende", a=5.65),
        ):
            atoms.rattle(0.05, seed=k)
            found.append(atoms)
    return found


@pytest.fixture(scope="session")
def diagnosis(
    checkpoint: Path, moved_checkpoint: Path, structures: list[Atoms]
) -> Diagnosis:
    return diagnose(
        load_network(checkpoint, "cpu"),
        {"ft": load_network(moved_checkpoint, "cpu")},
        {"crystals and water": structures, "atoms": [Atoms("O"), Atoms("H")] * 6},
        DiagnosisOptions(
            n_atoms=40, n_samples=15, n_environments=4, seed=2, n_repeats=2
        ),
    )
