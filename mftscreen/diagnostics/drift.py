"""How far fine-tuning moved the descriptors of atoms: the 1-Wasserstein distance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.diagnostics.sampling import gather_rows
from mftscreen.errors import DataError, ModelError
from mftscreen.model.network.backend import DeepmdNetwork

__all__ = [
    "Drift",
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
        1-Wasserstein distance, in the units of the descriptor.
    spread : float
        Mean distance of the reference model's descriptors from their mean: what `w1`
        is large or small against.
    n_atoms : int
        Sampled atoms.
    """

    w1: float
    spread: float
    n_atoms: int


def measure_drift(
    reference: DeepmdNetwork,
    network: DeepmdNetwork,
    structures: Sequence[Atoms],
    n_atoms: int = 5000,
    seed: int = 0,
) -> Drift:
    """Return how far the atomic descriptors of a network have moved.

    Parameters
    ----------
    reference : DeepmdNetwork
        What `network` was fine-tuned from.
    network : DeepmdNetwork
    structures : sequence of Atoms
        Already checked (:func:`mftscreen.structures.check_structure`). One with a
        sampled atom is evaluated whole; for a quick look, give fewer.
    n_atoms : int, default 5000
        Atoms to sample without replacement; all if there are fewer. Time grows with
        the square and faster, memory with the square: 5,000 atoms need 1.6 GB.
    seed : int, default 0
        The same seed gives the same atoms of the same structures.

    Returns
    -------
    Drift

    Raises
    ------
    ModelError
        As :func:`check_comparable`, or if a descriptor is not finite.
    DataError
        If there are no atoms.

    References
    ----------
    Eq. 15 of arXiv:2601.08486.
    """
    check_comparable(reference, network)
    total = sum(len(atoms) for atoms in structures)
    if not total or n_atoms < 1:
        msg = f"drift is measured on at least 1 atom; got {min(total, n_atoms)}"
        raise DataError(msg)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(total, min(n_atoms, total), replace=False))
    before, after = (
        atomic_descriptors(each, structures, rows) for each in (reference, network)
    )
    spread = np.linalg.norm(before - before.mean(axis=0), axis=1).mean()
    return Drift(wasserstein_distance(before, after), float(spread), len(rows))


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
