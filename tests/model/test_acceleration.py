from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase import Atoms

from mftscreen.model.acceleration import SparseSiLUT, _angle_update, _edge_update
from mftscreen.model.backend import DeepmdNetwork


@pytest.mark.parametrize("threshold", [3.0, 10.0])
def test_silut_and_its_gradient_equal_deepmd(threshold: float) -> None:
    from deepmd.pt.utils.utils import SiLUT

    theirs = SiLUT(threshold)
    ours = SparseSiLUT(theirs.threshold, theirs.slope, theirs.const)
    x = torch.linspace(-15, 15, 301, dtype=torch.float64).reshape(7, 43)
    results = []
    for activation in (theirs, ours):
        leaf = x.clone().requires_grad_()
        y = activation(leaf)
        (gradient,) = torch.autograd.grad((y**2).sum(), leaf)
        results.append((y.detach(), gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
    assert (x >= threshold).any()


def test_input_of_the_activation_is_not_changed() -> None:
    x = torch.tensor([1.0, 5.0])
    SparseSiLUT(3.0, 1.0, 2.0)(x)
    assert x.tolist() == [1.0, 5.0]


def test_every_activation_and_layer_is_replaced(
    checkpoint: Path, mixed_structures: list[Atoms]
) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    used = []
    for model in network._models.values():
        for module in model.descriptor.modules():
            if isinstance(module, SparseSiLUT):
                module.register_forward_hook(lambda *_: used.append(1))
            assert type(getattr(module, "silut", None)).__name__ not in (
                "SiLUT", "SiLUTScript",
            )  # fmt: skip
    network.evaluate(mixed_structures, energy_head="oxides")
    assert used
    layers = network._models["gap"].descriptor.repflows.layers
    for layer in layers:
        # the methods that deepmd-kit itself calls, under their names of today
        for name, ours in (
            ("optim_angle_update_dynamic", _angle_update),
            ("optim_edge_update_dynamic", _edge_update),
        ):
            assert hasattr(type(layer), name)
            assert getattr(layer, name).__func__ is ours
