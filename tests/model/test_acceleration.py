from __future__ import annotations

from pathlib import Path

from ase import Atoms

from mftscreen.model.acceleration import _angle_update, _edge_update
from mftscreen.model.activation import FusedSiLUT
from mftscreen.model.backend import DeepmdNetwork


def test_every_activation_and_layer_is_replaced(
    checkpoint: Path, mixed_structures: list[Atoms]
) -> None:
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    used = []
    for model in network._models.values():
        for module in model.descriptor.modules():
            if isinstance(module, FusedSiLUT):
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
