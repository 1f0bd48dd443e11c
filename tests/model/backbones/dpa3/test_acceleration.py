from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from mftscreen.model.backbones.dpa3.acceleration import (
    _angle_update,
    _edge_update,
    accelerate,
)
from mftscreen.model.backbones.dpa3.activation import FusedSiLUT
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork


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


def _model(checkpoint: Path, precision: str, fitting: dict[str, Any]) -> Any:
    """Return a model of deepmd-kit's own, in training mode."""
    from deepmd.pt.model.model import get_model

    parameters = copy.deepcopy(model_parameters(read_state(checkpoint))["gap"])
    parameters["descriptor"]["precision"] = precision
    parameters["fitting_net"] = {"neuron": [8], "precision": precision, **fitting}
    if fitting["type"] == "dipole_norm":
        parameters["type"] = "molecular_property"
    return get_model(parameters).train()


def _training_gradients(model: Any, name: str, atoms: Atoms) -> dict[str, torch.Tensor]:
    """Return the gradients of a loss of values and, if there are any, of forces."""
    types = [[model.get_type_map().index(s) for s in atoms.symbols]]
    coordinates = torch.tensor(atoms.positions.reshape(1, -1))
    found = model(coordinates, torch.tensor(types))
    loss = found[name].square().sum()
    if "force" in found:
        loss = loss + found["force"].square().sum()
    loss.backward()
    return {
        key: parameter.grad.double()
        for key, parameter in model.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)]
)
@pytest.mark.parametrize("name", ["energy", "mu"])
def test_training_has_the_gradients_of_deepmd(
    checkpoint: Path, precision: str, tolerance: float, name: str
) -> None:
    fitting = {"type": "ener", "seed": 1}
    if name == "mu":
        fitting = {"type": "dipole_norm", "property_name": name, "seed": 1}
    water = molecule("H2O2")
    water.rattle(0.1, seed=1)
    theirs = _model(checkpoint, precision, fitting)
    ours = copy.deepcopy(theirs)
    accelerate(ours, atoms_only=name == "energy")
    expected = _training_gradients(theirs, name, water)
    found = _training_gradients(ours, name, water)
    for key, gradient in expected.items():
        scale = gradient.abs().max().item() + 1e-3
        zero = torch.zeros_like(gradient)  # where nothing is read, nothing is computed
        torch.testing.assert_close(
            found.get(key, zero), gradient, rtol=0, atol=tolerance * scale, msg=key
        )
    last_edges = [key for key in expected if ".layers.1.edge_self_linear." in key]
    assert bool(last_edges) == (name == "mu")
