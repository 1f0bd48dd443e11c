"""⟨R²⟩ on a small untrained network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from mftscreen.model.network.backend import DeepmdNetwork


def test_r2_of_a_dimer_is_the_closed_form(
    network: DeepmdNetwork, values: Callable[[str, list[Atoms]], list[float]]
) -> None:
    network._models["r2"].scale.fill_(0.0)  # leaves the weights of the elements
    length = 1.7
    oh = Atoms("OH", [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + length]])
    mass_h, mass_o = (atomic_masses[atomic_numbers[s]] for s in "HO")
    weight_h, weight_o = 1.0, 2.0
    share = mass_h / (mass_h + mass_o)
    expected = weight_o * (share * length) ** 2 + weight_h * ((1 - share) * length) ** 2
    assert values("r2", [oh]) == [pytest.approx(expected, rel=1e-12)]


def _squares(network: DeepmdNetwork, molecules: list[Atoms]) -> np.ndarray:
    table = np.zeros((len(molecules), len(network.type_map)))
    for row, atoms in zip(table, molecules, strict=True):
        relative = atoms.positions - atoms.get_center_of_mass()
        types = [network.type_map.index(s) for s in atoms.symbols]
        np.add.at(row, types, (relative**2).sum(axis=1))
    return table


def test_r2_weights_are_the_least_squares_solution(
    network: DeepmdNetwork,
    molecules: list[Atoms],
    samples: Callable[[str, list[float]], list[dict]],
) -> None:
    labels = [19.0, 35.0, 61.0, 160.0]
    model = network._models["r2"]
    model.change_out_bias(samples("r2", labels))
    squares = _squares(network, molecules)
    expected = np.linalg.lstsq(squares, np.array(labels))[0]
    np.testing.assert_allclose(
        model.out_bias[0, :, 0].numpy(), expected, rtol=1e-9, atol=1e-12
    )
    rest = np.array(labels) - squares @ expected
    assert model.out_std[0, 0, 0].item() == pytest.approx(max(rest.std(), 1e-2))


def test_r2_weight_for_all_elements(
    network: DeepmdNetwork,
    molecules: list[Atoms],
    samples: Callable[[str, list[float]], list[dict]],
) -> None:
    labels = [19.0, 35.0, 61.0, 160.0]
    model = network._models["r2"]
    model.fitting_net.distinguish_types = False
    model.change_out_bias(samples("r2", labels))
    total = _squares(network, molecules).sum(axis=1)
    expected = total @ labels / (total @ total)
    np.testing.assert_allclose(
        model.out_bias[0, :, 0].numpy(), expected, rtol=1e-9, atol=1e-12
    )


def test_labels_that_the_weights_fit_leave_the_net_a_scale(
    network: DeepmdNetwork, samples: Callable[[str, list[float]], list[dict]]
) -> None:
    model = network._models["r2"]
    model.change_out_bias(samples("r2", [19.0, 35.0]))
    assert model.out_std[0, 0, 0].item() == 1e-2
    assert 1e-5 < model.scale.item() < 1e-2
