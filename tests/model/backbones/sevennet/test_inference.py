from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.model.backbones.sevennet import convolution
from mftscreen.model.backbones.sevennet.inference import features_of_graph
from mftscreen.model.network.backend import DeepmdNetwork

STRUCTURES = [
    bulk("MgO", "rocksalt", a=4.21),
    molecule("H2O"),
    Atoms("O"),
    Atoms("Mg", cell=[20, 20, 20], pbc=True),
]


def _features(network: DeepmdNetwork, **options: Any) -> list[np.ndarray]:
    found = network.evaluate(STRUCTURES, descriptors=True, **options)
    return [np.asarray(one.descriptors) for one in found]


def test_features_without_gradients_are_the_same(small_single: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(small_single, "cpu")
    assert features_of_graph(network.descriptor) is not None
    fast = _features(network)
    slow = _features(network, energy_head="pes")
    for one, other in zip(fast, slow, strict=True):
        assert one.shape == (len(other), network.width)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_double_precision_is_left_to_deepmd(small: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(small, "cpu")
    assert features_of_graph(network.descriptor) is None
    assert _features(network)[0].shape == (2, network.width)


def test_products_that_are_written_out_give_the_same(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs on a GPU, run here."""
    network = DeepmdNetwork.from_checkpoint(small, "cpu")
    loops = network.evaluate(STRUCTURES, energy_head="pes", descriptors=True)
    used = []

    def written_out(*arguments: Any) -> torch.Tensor:
        used.append(arguments[0])
        return convolution._written_out(*arguments)

    monkeypatch.setattr(convolution, "_compiled", written_out)
    products = network.evaluate(STRUCTURES, energy_head="pes", descriptors=True)
    assert set(used) == {0, 1, 2, 3}
    for one, other in zip(loops, products, strict=True):
        assert one.energy == pytest.approx(other.energy, rel=1e-12)
        for name in ("forces", "virial", "descriptors"):
            ours, theirs = getattr(one, name), getattr(other, name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
