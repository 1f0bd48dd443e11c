"""How far fine-tuning moved the descriptors of atoms: the 1-Wasserstein distance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.diagnostics.sampling import gather_rows
from mftscreen.errors import DataError, ModelError
from mftscreen.model.network.backend import DeepmdNetwork

__all__ = [
    "Drift",
    "IndependentDrift",
    "atomic_descriptors",
    "check_comparable",
    "measure_drift",
    "wasserstein_distance",
]

MAX_ITERATIONS = 10_000_000
"""Pivots of the network simplex. POT's default of 100,000 stops short of the optimum
with 5,000 atoms, at a distance 1 % too large."""


@dataclass(frozen=True)
class Drift:
    """How far the descriptors of the same atoms lie from those of another model.

    Attributes
    ----------
    w1 : float
        1-Wasserstein distance of the same atoms, in the units of the descriptor.
    spread : float
        Mean distance of the reference model's descriptors from their mean: what `w1`
        is large or small against.
    n_atoms : int
        Sampled atoms.
    independent : IndependentDrift, optional
        The distance of atoms that were drawn for each model; None if it was not asked
        for, or there are too few atoms.
    """

    w1: float
    spread: float
    n_atoms: int
    independent: IndependentDrift | None = None


@dataclass(frozen=True)
class IndependentDrift:
    """How far descriptors of some atoms lie from those of others in another model.

    Attributes
    ----------
    w1 : float
        1-Wasserstein distance, in the units of the descriptor.
    floor : float
        That of the same two draws in the reference model: what `w1` is without any
        drift, since finite samples differ.
    n_atoms : int
        Atoms of each draw; none is in both.
    """

    w1: float
    floor: float
    n_atoms: int


def measure_drift(
    reference: DeepmdNetwork,
    networks: Mapping[str, DeepmdNetwork],
    structures: Sequence[Atoms],
    n_atoms: int = 5000,
    seed: int = 0,
    *,
    independent: bool = False,
) -> dict[str, Drift]:
    """Return how far the atomic descriptors of networks have moved.

    Parameters
    ----------
    reference : DeepmdNetwork
        What `networks` were fine-tuned from.
    networks : mapping of str to DeepmdNetwork
    structures : sequence of Atoms
        Already checked (:func:`mftscreen.structures.check_structure`). One with a
        sampled atom is evaluated whole; for a quick look, give fewer.
    n_atoms : int, default 5000
        Atoms to sample without replacement; all if there are fewer. Time grows with
        the square and faster, memory with the square: 5,000 atoms need 1.6 GB.
    seed : int, default 0
        The same seed gives the same atoms of the same structures.
    independent : bool, default False
        Whether to draw other atoms for `networks`, too, half of all if there are fewer
        than twice `n_atoms`. Takes three times as long.

    Returns
    -------
    dict of str to Drift

    Raises
    ------
    ModelError
        As :func:`check_comparable`, or if a descriptor is not finite.
    DataError
        If there are no atoms.

    References
    ----------
    Eq. 15 of arXiv:2601.08486, of which one may think either way: it samples 5,000
    descriptors "of the pretrained and fine-tuned models respectively".
    """
    for network in networks.values():
        check_comparable(reference, network)
    total = sum(len(atoms) for atoms in structures)
    if not total or n_atoms < 1:
        msg = f"drift is measured on at least 1 atom; got {min(total, n_atoms)}"
        raise DataError(msg)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(total, min(n_atoms, total), replace=False)
    n_drawn = min(n_atoms, total // 2) if independent else 0
    others = rng.permutation(np.setdiff1d(np.arange(total), drawn))
    order = np.concatenate([drawn, others])
    same = np.sort(drawn)
    draws = [np.sort(order[:n_drawn]), np.sort(order[n_drawn : 2 * n_drawn])]
    rows = np.sort(order[: max(len(same), 2 * n_drawn)])

    def descriptors(network: DeepmdNetwork) -> _Rows:
        return _Rows(rows, atomic_descriptors(network, structures, rows))

    before = descriptors(reference)
    points = before.of(same)
    spread = float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())
    floor = (
        wasserstein_distance(before.of(draws[0]), before.of(draws[1]))
        if n_drawn
        else 0.0
    )
    found = {}
    for name, network in networks.items():
        after = descriptors(network)
        drift = Drift(wasserstein_distance(points, after.of(same)), spread, len(same))
        if n_drawn:
            w1 = wasserstein_distance(before.of(draws[0]), after.of(draws[1]))
            drift = replace(drift, independent=IndependentDrift(w1, floor, n_drawn))
        found[name] = drift
    return found


@dataclass(frozen=True)
class _Rows:
    """The descriptors of some atoms."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64]

    def of(self, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.values[np.searchsorted(self.rows, chosen)]


def atomic_descriptors(
    network: DeepmdNetwork, structures: Sequence[Atoms], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the descriptors of chosen atoms, those of the first property head.

    Parameters
    ----------
    network : DeepmdNetwork
    structures : sequence of Atoms
    rows : ndarray of shape (n_chosen,)
        Numbers of atoms, counted through all structures.

    Returns
    -------
    ndarray of shape (n_chosen, n_features)

    Raises
    ------
    ModelError
        If a descriptor is not finite.
    """

    def evaluate(batch: list[Atoms]) -> list[NDArray[np.float64]]:
        found = network.evaluate(batch, descriptors=True)
        return [each.descriptors for each in found if each.descriptors is not None]

    return gather_rows(evaluate, structures, [len(s) for s in structures], rows)


def check_comparable(reference: DeepmdNetwork, network: DeepmdNetwork) -> None:
    """Raise if the descriptors of two networks cannot be compared.

    Raises
    ------
    ModelError
        If their type maps, cutoffs or numbers of features differ.
    """
    sizes = [int(each.descriptor.get_dim_out()) for each in (reference, network)]
    if sizes[0] != sizes[1]:
        msg = (
            f"the descriptor of the pretrained model has {sizes[0]} features, that of "
            f"the fine-tuned model {sizes[1]}; one was not made from the other"
        )
        raise ModelError(msg)
    if reference.cutoff != network.cutoff:
        msg = (
            f"the pretrained model has a cutoff of {reference.cutoff} Å, the "
            f"fine-tuned model one of {network.cutoff} Å; one was not made from the "
            "other"
        )
        raise ModelError(msg)
    if reference.type_map != network.type_map:
        differing = set(reference.type_map) ^ set(network.type_map)
        what = ", ".join(sorted(differing)) or "the order of the elements"
        msg = f"the type maps of the two models differ in {what}; they must be equal"
        raise ModelError(msg)


def wasserstein_distance(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> float:
    """Return the 1-Wasserstein distance of two sets of points of equal weight.

    Parameters
    ----------
    first : ndarray of shape (n_first, n_features)
    second : ndarray of shape (n_second, n_features)

    Returns
    -------
    float
        Exact optimal transport in all dimensions, by Euclidean distance.

    Raises
    ------
    DataError
        If the network simplex does not finish.

    References
    ----------
    Eq. 15 of arXiv:2601.08486; POT: https://jmlr.org/papers/v22/20-451.html

    Examples
    --------
    >>> points = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 2.0]])
    >>> round(wasserstein_distance(points, points[::-1] + [3.0, 4.0]), 12)
    5.0
    """
    import ot
    from scipy.spatial.distance import cdist

    # not by way of squares, so that equal points are at a distance of exactly 0
    cost = cdist(first, second)
    weights = [np.full(size, 1.0 / size) for size in cost.shape]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is in the log
        distance, log = ot.emd2(*weights, cost, numItermax=MAX_ITERATIONS, log=True)
    if log["warning"] is not None:
        msg = (
            f"optimal transport between {len(first)} and {len(second)} atoms did not "
            f"finish ({log['warning']}); take fewer atoms"
        )
        raise DataError(msg)
    return float(distance)
