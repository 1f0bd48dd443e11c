"""Small 7net models with random weights, and those that come with sevenn."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import pytest

SMALL: dict[str, Any] = {
    "type": "sevennet", "cutoff": 4.5, "cutoff_on": 4.0, "channels": [8, 6, 4],
    "n_layers": 3, "n_basis": 5, "radial_neurons": [8], "divisor": 5.0,
    "output_layers": [1, 2], "sel": 100, "seed": 1,
}  # fmt: skip


def build_small(precision: str) -> bytes:
    """Return a checkpoint with an energy head, as deepmd-kit saves it."""
    import torch
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    import mftscreen.model.plugins  # noqa: F401 - registers the descriptor

    parameters = {
        "type_map": ["H", "O", "Mg"],
        "descriptor": {**SMALL, "precision": precision},
        "fitting_net": {
            "type": "ener", "neuron": [4], "precision": precision, "seed": 1,
        },
    }  # fmt: skip
    model = get_model({**parameters, "descriptor": dict(parameters["descriptor"])})
    wrapper = ModelWrapper(
        {"pes": model}, model_params={"model_dict": {"pes": parameters}}
    )
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small 7net in double precision."""
    path = tmp_path_factory.mktemp("sevennet") / "small.pt"
    path.write_bytes(build_small("float64"))
    return path


@pytest.fixture(scope="session")
def small_single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in single precision."""
    path = tmp_path_factory.mktemp("sevennet") / "single.pt"
    path.write_bytes(build_small("float32"))
    return path


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 7net-0 that comes with sevenn, converted."""
    pytest.importorskip("sevenn")
    from mftscreen.model.backbones.sevennet.conversion import convert
    from mftscreen.model.files.checkpoint import save_state

    path = tmp_path_factory.mktemp("converted") / "7net-0.pt"
    path.write_bytes(save_state(convert("7net-0")))
    return path


@pytest.fixture(scope="session")
def teacher() -> Any:
    """sevenn's own calculator of 7net-0."""
    pytest.importorskip("sevenn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")
