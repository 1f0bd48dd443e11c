"""A small untrained checkpoint with heads for molecules, and what to do with it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from mftscreen.head_forms import HEAD_FORMS
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork

KINDS = [form.name for form in HEAD_FORMS.values() if form.molecular]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def kinds() -> list[str]:
    """Names of all heads for molecules."""
    return KINDS


@pytest.fixture(scope="session")
def molecular(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with all heads for molecules beside a plain one."""
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    parameters = {"gap": model_parameters(read_state(checkpoint))["gap"]}
    for seed, kind in enumerate(KINDS):
        head = copy.deepcopy(parameters["gap"])
        head["type"] = "molecular_property"
        fitting = {"type": kind, "property_name": kind, "seed": seed}
        head["fitting_net"] = {"neuron": [8], "precision": "float64", **fitting}
        parameters[kind] = head
    models = {name: get_model(copy.deepcopy(p)) for name, p in parameters.items()}
    for kind in KINDS:
        atomic = models[kind].atomic_model
        atomic.descriptor = models["gap"].atomic_model.descriptor
        atomic.scale.fill_(0.3)
    models["r2"].atomic_model.out_bias[0, :, 0] = torch.arange(1.0, 7.0)
    wrapper = ModelWrapper(models, model_params={"model_dict": parameters})
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    path = tmp_path_factory.mktemp("molecular") / "molecular.pt"
    path.write_bytes(buffer.getvalue())
    return path


@pytest.fixture
def network(molecular: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(molecular)


@pytest.fixture
def molecules() -> list[Atoms]:
    return [molecule(name) for name in ("H2O", "SiH4", "H2O2", "O3")]


@pytest.fixture
def values(network: DeepmdNetwork) -> Callable[[str, list[Atoms]], list[float]]:
    """Return what a head gives for structures that are evaluated together."""

    def evaluate(kind: str, structures: list[Atoms]) -> list[float]:
        results = network.evaluate(structures, property_heads=[kind])
        return [result.heads[kind].item() for result in results]

    return evaluate


@pytest.fixture
def samples(
    network: DeepmdNetwork, molecules: list[Atoms]
) -> Callable[[str, list[float]], list[dict]]:
    """Return labelled molecules as deepmd-kit hands them to the statistics."""

    def pack(kind: str, labels: list[float]) -> list[dict]:
        return [
            {
                "coord": torch.tensor(atoms.positions[None]),
                "atype": torch.tensor(
                    [[network.type_map.index(s) for s in atoms.symbols]]
                ),
                "box": None,
                kind: torch.tensor([[label]]),
                f"find_{kind}": np.float32(1.0),
            }
            for atoms, label in zip(molecules, labels, strict=False)
        ]

    return pack
