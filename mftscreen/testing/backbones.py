"""Checks that every kind of backbones must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from numpy.typing import NDArray

from mftscreen.model.backbones import find_architecture
from mftscreen.model.files.checkpoint import model_parameters, save_state
from mftscreen.model.files.reading import read_state
from mftscreen.model.loading import load_model
from mftscreen.model.network.backend import DeepmdNetwork, Evaluation
from mftscreen.model.network.rebuilding import build_models
from mftscreen.testing.models import check_model

__all__ = ["check_backbone"]

CPU = torch.device("cpu")
MANY, FEW = 500, 120
"""Neighbours to pad for; more than any structure here has."""


def check_backbone(checkpoint: str | Path, *, rtol: float = 1e-5) -> None:
    """Raise AssertionError if a kind of backbones breaks a rule that all must keep.

    Its energies, forces and stress pass :func:`check_model` on a crystal, a slab and a
    molecule, and so do features; features found with gradients and without are the
    same, whatever else is in the batch. Neither padding nor the order of elements
    enters the numbers; a kind may refuse another order. What is saved is loaded again
    as it was. Gradients of energies and forces by weights are what they say, and a
    frozen descriptor has none.

    Parameters
    ----------
    checkpoint : str or Path
        Of deepmd-kit, small, with one energy head; the elements H, O and Mg are known.
    rtol : float
        Relative tolerance where equality is meant; single precision needs 1e-5.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    """
    structures = example_structures()
    state = read_state(checkpoint)
    check_model(load_model(checkpoint), structures, rtol=rtol)
    network = DeepmdNetwork(state, "cpu")
    _check_features(network, structures, rtol)
    for name, other in [
        ("padding", _padded(state, MANY)),
        ("padding", _padded(state, FEW)),
        ("a file", _saved(state)),
        ("the order of elements", _reordered(state)),
    ]:
        if other is None:
            continue
        found = _evaluate(DeepmdNetwork(other, "cpu"), structures)
        _assert_equal(found, _evaluate(network, structures), rtol, name)
    _check_learning(state, structures[0])


def example_structures() -> list[Atoms]:
    """Return a crystal, a slab with a vacuum, and a molecule, off their minima."""
    crystal = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    slab = bulk("MgO", "rocksalt", a=4.3)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = (True, True, False)
    structures = [crystal, slab, molecule("H2O")]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=k)
    return structures


def _energy_head(network: DeepmdNetwork) -> str:
    return network.energy_heads()[0]


def _evaluate(network: DeepmdNetwork, structures: Sequence[Atoms]) -> list[Evaluation]:
    return network.evaluate(
        structures, energy_head=_energy_head(network), descriptors=True
    )


def _assert_equal(
    found: Sequence[Evaluation], expected: Sequence[Evaluation], rtol: float, what: str
) -> None:
    for one, other in zip(found, expected, strict=True):
        for name in ("energy", "forces", "virial", "descriptors"):
            ours, theirs = (np.asarray(getattr(x, name)) for x in (one, other))
            scale = max(1.0, float(np.abs(theirs).max()))
            error = float(np.abs(ours - theirs).max())
            assert error <= rtol * scale, f"{what} changes {name} by {error:.2g}"


def _check_features(
    network: DeepmdNetwork, structures: Sequence[Atoms], rtol: float
) -> None:
    """Compare features without gradients, which may be found by another way."""
    fast = _features(network, structures)
    slow = [one.descriptors for one in _evaluate(network, structures)]
    for k, atoms in enumerate(structures):
        expected = np.asarray(slow[k])
        turned = atoms.copy()
        turned.rotate(40.0, (1, 2, 3), rotate_cell=True)
        scale = max(1.0, float(np.abs(expected).max()))
        for what, found in [
            ("leaving out gradients", fast[k]),
            ("a batch", _features(network, [atoms])[0]),
            ("rotation", _features(network, [turned])[0]),
        ]:
            error = float(np.abs(found - expected).max())
            assert error <= rtol * scale, f"{what} changes features by {error:.2g}"


def _features(
    network: DeepmdNetwork, structures: Sequence[Atoms]
) -> list[NDArray[np.float64]]:
    found = network.evaluate(structures, descriptors=True, derivatives=False)
    return [np.asarray(one.descriptors) for one in found]


def _padded(state: Mapping[str, Any], n_neighbors: int) -> dict[str, Any]:
    """Return the same model with lists of neighbours of another length."""
    descriptor = next(iter(model_parameters(state).values()))["descriptor"]
    architecture = find_architecture(descriptor)
    fitted = architecture.fit_parameters(descriptor, (n_neighbors, n_neighbors))
    padded = architecture.fit_state(state, fitted)
    extra = padded["_extra_state"]
    heads = {
        name: {**own, "descriptor": fitted}
        for name, own in model_parameters(padded).items()
    }
    return {**padded, "_extra_state": {**extra, "model_params": {"model_dict": heads}}}


def _saved(state: Mapping[str, Any]) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        path.write_bytes(save_state(state))
        return read_state(path)


def _reordered(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same model with its elements the other way round; None if refused."""
    heads = model_parameters(state)
    parameters = {
        name: {**own, "type_map": list(reversed(own["type_map"]))}
        for name, own in heads.items()
    }
    reordered: dict[str, Any] = {}
    for name, model in build_models(state, CPU).items():
        try:
            model.change_type_map(parameters[name]["type_map"])
        except NotImplementedError:  # as deepmd-kit's DPA4 does
            return None
        reordered |= {f"model.{name}.{k}": v for k, v in model.state_dict().items()}
    extra = {**state["_extra_state"], "model_params": {"model_dict": parameters}}
    return {**reordered, "_extra_state": extra}


def _check_learning(state: Mapping[str, Any], atoms: Atoms) -> None:
    """Take gradients of energies and forces by weights, as a training does."""
    heads = model_parameters(state)
    name, own = next(iter(heads.items()))
    model = build_models(state, CPU)[name].requires_grad_(requires_grad=True)
    model.train()  # or forces would have no gradient
    for output in ("energy", "force"):
        _check_slope(model, atoms, output)
    frozen = {**own, "descriptor": {**own["descriptor"], "trainable": False}}
    extra = {
        **state["_extra_state"],
        "model_params": {"model_dict": {**heads, name: frozen}},
    }
    rebuilt = build_models({**state, "_extra_state": extra}, CPU, frozen=False)[name]
    free = [
        k for k, w in rebuilt.get_descriptor().named_parameters() if w.requires_grad
    ]
    assert not free, f"a frozen descriptor would learn {free[0]}"
    assert any(w.requires_grad for w in rebuilt.parameters()), "heads are frozen, too"


def _check_slope(model: Any, atoms: Atoms, output: str) -> None:
    """Compare a gradient by the descriptor's weights with a step along it."""

    def loss() -> torch.Tensor:
        positions = torch.tensor(atoms.positions[None])
        types = [[model.get_type_map().index(symbol) for symbol in atoms.symbols]]
        box = torch.tensor(np.asarray(atoms.cell)[None])
        found: torch.Tensor = model(positions, torch.tensor(types), box=box)[output]
        return found.square().sum()

    before = loss()
    weights = list(model.get_descriptor().parameters())
    found = torch.autograd.grad(before, weights, allow_unused=True)
    gradients = {
        weight: gradient
        for weight, gradient in zip(weights, found, strict=True)
        if gradient is not None and gradient.any()
    }
    what = f"the {output} by the descriptor's weights"
    assert gradients, f"there is no gradient of {what}"
    slope = sum(float(g.square().sum()) for g in gradients.values()) ** 0.5
    step = 1e-3 * before.item() / slope
    losses = []
    for along in (step, -step):
        _move(gradients, along / slope)
        losses.append(loss().item())
        _move(gradients, -along / slope)
    numerical = (losses[0] - losses[1]) / (2 * step)
    assert abs(numerical - slope) < 0.02 * slope, (
        f"the gradient of {what} is {slope:.4g}, and along it the slope {numerical:.4g}"
    )


@torch.no_grad()
def _move(gradients: Mapping[torch.Tensor, torch.Tensor], length: float) -> None:
    for weight, gradient in gradients.items():
        weight += length * gradient
