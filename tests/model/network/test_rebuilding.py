from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from mftscreen.errors import UnknownHeadError
from mftscreen.model.network.backend import DeepmdNetwork


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> DeepmdNetwork:
    return DeepmdNetwork.from_checkpoint(checkpoint)


def test_heads_are_described(network: DeepmdNetwork) -> None:
    assert network.energy_heads() == ["alloys", "oxides"]
    assert network.property_heads() == ["gap", "alpha"]
    assert network.heads["gap"].form.name == "intensive"
    assert network.heads["alpha"].form.name == "extensive"


def test_single_task_checkpoint(single_task_checkpoint: bytes) -> None:
    network = DeepmdNetwork.from_checkpoint(single_task_checkpoint)
    assert network.property_heads() == ["Default"]
    (result,) = network.evaluate([bulk("Si")], property_heads=["Default"])
    assert np.isfinite(result.heads["Default"])


def test_process_state_is_untouched(checkpoint: Path) -> None:
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    expected = np.random.random(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    dtype = torch.get_default_dtype()
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    network.evaluate([bulk("Si")], energy_head="oxides")
    with pytest.raises(UnknownHeadError):
        network.evaluate([bulk("Si")], energy_head="nothing")
    assert (np.random.random(), torch.rand(1).item()) == expected  # noqa: NPY002
    assert torch.get_default_dtype() == dtype
    assert torch.is_grad_enabled()
