from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance as wasserstein_distance_1d

from mftscreen.diagnostics import drift
from mftscreen.diagnostics.drift import (
    Drift,
    atomic_descriptors,
    check_comparable,
    measure_drift,
    wasserstein_distance,
)
from mftscreen.errors import DataError, ModelError
from mftscreen.model.network.backend import DeepmdNetwork

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 7))


def test_distance_of_a_set_to_itself_is_0() -> None:
    assert wasserstein_distance(POINTS, POINTS) == 0.0
    assert wasserstein_distance(POINTS, RNG.permutation(POINTS)) == 0.0


def test_distance_of_a_shifted_set_is_the_norm_of_the_shift() -> None:
    shift = RNG.normal(size=7)
    distance = wasserstein_distance(POINTS, RNG.permutation(POINTS + shift))
    assert distance == pytest.approx(np.linalg.norm(shift), rel=1e-12)


def test_distance_of_equal_numbers_is_the_best_assignment() -> None:
    others = 2.0 * RNG.normal(size=(60, 7)) + 0.3
    cost = cdist(POINTS, others)
    best = cost[linear_sum_assignment(cost)].mean()
    assert wasserstein_distance(POINTS, others) == pytest.approx(best, rel=1e-12)
    # the order of the points says which is which, not what it costs
    assert best < np.diag(cost).mean()


def test_distance_of_unequal_numbers_on_a_line() -> None:
    one, other = RNG.normal(size=(31, 1)), RNG.normal(size=(17, 1)) + 1
    expected = wasserstein_distance_1d(one.ravel(), other.ravel())
    assert wasserstein_distance(one, other) == pytest.approx(expected, rel=1e-12)


def test_a_transport_that_is_not_found_is_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "MAX_ITERATIONS", 1)
    with pytest.raises(DataError, match="take fewer atoms"):
        wasserstein_distance(POINTS, RNG.normal(size=(60, 7)))


def test_a_network_does_not_drift_from_itself(
    pretrained: DeepmdNetwork, structures: list[Atoms]
) -> None:
    networks = {"same": pretrained}
    found = measure_drift(pretrained, networks, structures, n_atoms=30)["same"]
    assert found.w1 == 0.0
    assert found.n_atoms == 30
    assert found.spread > 0.1


def test_drift_is_between_the_same_atoms(
    pretrained: DeepmdNetwork, fine_tuned: DeepmdNetwork, structures: list[Atoms]
) -> None:
    total = sum(map(len, structures))
    networks = {"ft": fine_tuned}
    found = measure_drift(pretrained, networks, structures, n_atoms=10_000)["ft"]
    assert found.n_atoms == total
    before, after = (
        np.concatenate(
            [n.evaluate([a], descriptors=True)[0].descriptors for a in structures]
        )
        for n in (pretrained, fine_tuned)
    )
    assert found.w1 == pytest.approx(wasserstein_distance(before, after), rel=1e-9)
    assert 0 < found.w1 <= np.linalg.norm(before - after, axis=1).mean() + 1e-12


def test_the_seed_chooses_the_atoms(
    pretrained: DeepmdNetwork, fine_tuned: DeepmdNetwork, structures: list[Atoms]
) -> None:
    one, same, other = (
        measure_drift(pretrained, {"ft": fine_tuned}, structures, 20, seed)["ft"].w1
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_independent_draws_share_no_atom_and_have_a_floor(
    pretrained: DeepmdNetwork, fine_tuned: DeepmdNetwork, structures: list[Atoms]
) -> None:
    networks = {"same": pretrained, "ft": fine_tuned}
    total = sum(map(len, structures))

    def measure(n_atoms: int, independent: bool = True) -> dict[str, Drift]:
        return measure_drift(
            pretrained, networks, structures, n_atoms, independent=independent
        )

    same, moved = measure(20).values()
    assert same.independent is not None
    assert same.w1 == 0.0
    assert same.independent.w1 == same.independent.floor > 0
    assert moved.independent.floor == same.independent.floor
    assert moved.independent.w1 > same.independent.w1
    assert same.independent.n_atoms == 20
    # of all atoms, two halves
    assert measure(10_000)["ft"].independent.n_atoms == total // 2
    # the same atoms as without
    assert measure(20, independent=False)["ft"].w1 == moved.w1


def test_chosen_atoms(pretrained: DeepmdNetwork, structures: list[Atoms]) -> None:
    rows = np.array([3, 0, 12])
    found = atomic_descriptors(pretrained, structures, rows)
    n_first = len(structures[0])
    first, second, third = (
        pretrained.evaluate([a], descriptors=True)[0].descriptors
        for a in structures[:3]
    )
    everything = np.concatenate([first, second, third])
    assert n_first == 3
    np.testing.assert_allclose(found, everything[rows], atol=1e-12)


@pytest.mark.parametrize(("structures", "n_atoms"), [([], 5), ([molecule("H2O")], 0)])
def test_no_atoms(
    pretrained: DeepmdNetwork, structures: list[Atoms], n_atoms: int
) -> None:
    with pytest.raises(DataError, match="at least 1 atom; got 0"):
        measure_drift(pretrained, {"same": pretrained}, structures, n_atoms)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["descriptor"]["repflow"].update(n_dim=9), "8 features.*9"),
        (lambda p: p["descriptor"]["repflow"].update(e_rcut=5.0), "4.5 Å.*5.0 Å"),
        (lambda p: p.update(type_map=["H", "O", "Mg", "Si", "Ga", "P"]), "As, P"),
        (lambda p: p["type_map"].reverse(), "the order of the elements"),
    ],
    ids=["width", "cutoff", "elements", "order"],
)
def test_other_descriptors_are_refused(
    pretrained: DeepmdNetwork, checkpoint: Path, change: object, message: str
) -> None:
    from deepmd.pt.model.model import get_model
    from deepmd.pt.train.wrapper import ModelWrapper

    state = torch.load(checkpoint, weights_only=True)["model"]
    parameters = copy.deepcopy(
        state["_extra_state"]["model_params"]["model_dict"]["gap"]
    )
    change(parameters)
    wrapper = ModelWrapper(
        get_model(copy.deepcopy(parameters)), model_params=parameters
    )
    buffer = io.BytesIO()
    torch.save({"model": wrapper.state_dict()}, buffer)
    other = DeepmdNetwork.from_checkpoint(buffer.getvalue(), "cpu")
    with pytest.raises(ModelError, match=message):
        check_comparable(pretrained, other)
