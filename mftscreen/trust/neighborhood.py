r"""Where structures lie among training rows, in the space of a model's own descriptor.

Pooled descriptors (:func:`mftscreen.model.readouts.pooling.pool`), each component in
units of its spread among the training rows, are projected on their principal axes.
Two numbers say what there is to learn from around a structure: how far its nearest
training rows are, and how much the labels of these differ.

``benchmarks/error_estimates.py`` measures what they tell of errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import ModelFileError
from mftscreen.transforms import LARGEST_LABEL

__all__ = [
    "Neighborhood",
    "Space",
    "Surroundings",
    "component_scales",
    "draw_rows",
    "gather_surroundings",
    "measure_held_out",
    "merge_surroundings",
    "open_neighborhoods",
    "pack_neighborhoods",
]

FloatArray = NDArray[np.float64]

N_AXES = 64
N_POINTS = 4000
"""Of more rows, so many are drawn."""

N_NEAREST, N_LABELS = 5, 10
"""Rows that the distance is the mean of, and whose labels are compared."""

LARGEST = 6.0e4
"""Of what is stored in half precision."""

BOUND = 1e12
"""Of numbers in a file other than labels, so that what is made of them is finite."""

ROUNDING = 1e-6
"""Of the largest component, what networks in single precision may be wrong by."""

LEAST_SCALE = 1e-9
"""So that numbers in units of it keep within what a file may hold."""

BLOCK = 256
"""Structures that are compared together."""


class Surroundings(NamedTuple):
    """What is around structures.

    Attributes
    ----------
    distance : float or ndarray of shape (n_structures,)
        Mean distance to the five nearest training rows.
    spread : float or ndarray of shape (n_structures,)
        Standard deviation of the labels of the ten nearest, in the scale in which
        errors are estimated.
    """

    distance: Any
    spread: Any


def merge_surroundings(found: Sequence[Surroundings]) -> Surroundings:
    """Return what is around structures for an ensemble: the geometric means.

    Parameters
    ----------
    found : sequence of Surroundings
        One for each model, at least one.

    Examples
    --------
    >>> merge_surroundings([Surroundings(0.1, 0.2), Surroundings(0.4, 0.2)])
    Surroundings(distance=0.2, spread=0.2)
    """
    if len(found) == 1:
        return found[0]
    with np.errstate(divide="ignore"):
        means = np.exp(np.log(np.array(found)).mean(axis=0))
    return Surroundings(*(means if means.ndim > 1 else means.tolist()))


def gather_surroundings(found: Iterable[Surroundings | None]) -> Surroundings:
    """Return the surroundings of several structures as arrays, NaN for None."""
    unknown = Surroundings(np.nan, np.nan)
    pairs = np.array([each or unknown for each in found], dtype=np.float64)
    return Surroundings(*pairs.reshape(-1, 2).T)


def component_scales(pooled: FloatArray) -> FloatArray:
    """Return the units that components of pooled descriptors are counted in.

    Parameters
    ----------
    pooled : ndarray of shape (n_rows, n_features)

    Returns
    -------
    ndarray of shape (n_features,)
        Their spreads; of components that are the same everywhere but for rounding, more
        than that, so that they tell nothing apart: 1e-4 of the largest spread and 1e-6
        of the largest mean at least.

    Examples
    --------
    >>> component_scales(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([1.e+00, 1.e-04])
    >>> component_scales(np.array([[1.0, 5.0], [1.0 + 1e-9, 5.0]]))
    array([5.e-06, 5.e-06])
    """
    spread, size = pooled.std(axis=0), np.abs(pooled.mean(axis=0)).max()
    floor = max(1e-4 * spread.max(), ROUNDING * size, LEAST_SCALE)
    return np.asarray(np.maximum(spread, floor))


@dataclass(frozen=True, eq=False)
class Space:
    """A projection of pooled descriptors.

    Attributes
    ----------
    center : ndarray of shape (n_features,)
    axes : ndarray of shape (n_features, n_axes)
    """

    center: FloatArray
    axes: FloatArray

    @classmethod
    def of(cls, pooled: FloatArray) -> Space:
        """Return the space of the principal axes of training rows.

        Parameters
        ----------
        pooled : ndarray of shape (n_rows, n_features)
        """
        center = pooled.mean(axis=0)
        scale = component_scales(pooled) * np.sqrt(pooled.shape[1])
        x = (pooled - center) / scale
        _, vectors = np.linalg.eigh(x.T @ x)
        axes = vectors[:, ::-1][:, :N_AXES] / scale[:, None]
        # as a model file holds them
        return cls(*(a.astype(np.float32).astype(np.float64) for a in (center, axes)))

    def __call__(self, pooled: FloatArray) -> FloatArray:
        """Return the places (n_structures, n_axes) of pooled descriptors."""
        return np.asarray((pooled - self.center) @ self.axes)


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Training rows in a space, with labels.

    Attributes
    ----------
    space : Space
    points : ndarray of shape (n_points, n_axes)
    labels : mapping of str to ndarray of shape (n_points,)
        By property, in the scale in which its errors are estimated.
    """

    space: Space
    points: FloatArray
    labels: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls, space: Space, pooled: FloatArray, labels: Mapping[str, FloatArray]
    ) -> Neighborhood:
        """Return the neighbourhood that training rows make.

        Parameters
        ----------
        space : Space
        pooled : ndarray of shape (n_rows, n_features)
            Of rows that :func:`draw_rows` has drawn.
        labels : mapping of str to ndarray of shape (n_rows,)
        """
        points = space(pooled).clip(-LARGEST, LARGEST)
        return cls(space, points.astype(np.float16).astype(np.float64), labels)

    @cached_property
    def _squares(self) -> FloatArray:
        return np.asarray(np.square(self.points).sum(axis=1))

    def measure(self, pooled: FloatArray) -> dict[str, Surroundings]:
        """Return what is around structures, by property.

        Parameters
        ----------
        pooled : ndarray of shape (n_structures, n_features)

        Returns
        -------
        dict of str to Surroundings
            With arrays of shape (n_structures,).
        """
        places = self.space(pooled)
        k = min(N_LABELS, len(self.points))
        rows = np.empty((len(places), k), dtype=np.int64)
        distances = np.empty((len(places), k))
        for start in range(0, len(places), BLOCK):
            part = slice(start, start + BLOCK)
            rows[part], distances[part] = self._nearest(places[part], k)
        mean = distances[:, :N_NEAREST].mean(axis=1)
        return {
            name: Surroundings(mean, labels[rows].std(axis=1))
            for name, labels in self.labels.items()
        }

    def _nearest(
        self, places: FloatArray, k: int
    ) -> tuple[NDArray[np.int64], FloatArray]:
        rough = self._squares - 2.0 * (places @ self.points.T)
        rows = np.argpartition(rough, k - 1, axis=1)[:, :k]
        # from differences: that of squares is all rounding for what is nearly equal
        apart = places[:, None, :] - self.points[rows]
        distances = np.sqrt(np.square(apart).sum(axis=2))
        order = np.argsort(distances, axis=1, kind="stable")
        return (
            np.take_along_axis(rows, order, axis=1),
            np.take_along_axis(distances, order, axis=1),
        )


def draw_rows(n_rows: int) -> NDArray[np.int64]:
    """Return the rows, of so many, that a neighbourhood is made of: all, if few."""
    return np.random.default_rng(0).permutation(n_rows)[:N_POINTS]


def measure_held_out(
    space: Space, pooled: FloatArray, labels: FloatArray, folds: NDArray[np.int64]
) -> Surroundings:
    """Return what is around training rows if those of their own fold are left out.

    Parameters
    ----------
    space : Space
    pooled : ndarray of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,)
    folds : ndarray of shape (n_rows,)
        At least two different numbers.

    Returns
    -------
    Surroundings
        With arrays of shape (n_rows,).
    """
    distances, spreads = np.empty(len(pooled)), np.empty(len(pooled))
    for fold in np.unique(folds):
        own = folds == fold
        rows = np.flatnonzero(~own)
        rows = rows[draw_rows(len(rows))]
        others = Neighborhood.of(space, pooled[rows], {"": labels[rows]})
        distances[own], spreads[own] = others.measure(pooled[own])[""]
    return Surroundings(distances, spreads)


def pack_neighborhoods(
    neighborhoods: Sequence[Neighborhood],
) -> dict[str, NDArray[Any]]:
    """Return the arrays for a model file.

    Parameters
    ----------
    neighborhoods : sequence of Neighborhood
        No property is in two of them.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for number, each in enumerate(neighborhoods):
        arrays |= {
            f"{number}/center": each.space.center.astype(np.float32),
            f"{number}/axes": each.space.axes.astype(np.float32),
            f"{number}/points": each.points.astype(np.float16),
        }
        for name, labels in each.labels.items():
            arrays[f"{number}/labels/{name}"] = labels.astype(np.float32)
    return arrays


def open_neighborhoods(
    arrays: Mapping[str, NDArray[Any]], width: int
) -> list[Neighborhood]:
    """Return what :func:`pack_neighborhoods` was called with.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        May be empty.
    width : int
        Components of the model's descriptor.

    Raises
    ------
    ModelFileError
        If arrays are missing, not finite numbers, or of shapes that do not belong
        together.
    """
    numbers = sorted({key.split("/")[0] for key in arrays})
    return [_open(arrays, f"{number}/", 2 * width) for number in numbers]


def _open(
    arrays: Mapping[str, NDArray[Any]], prefix: str, n_features: int
) -> Neighborhood:
    own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    labels = {k: a for k, a in own.items() if k.startswith("labels/")}
    points = own.get("points", np.empty(0))
    n, d = points.shape if points.ndim == 2 else (0, 0)
    shapes: dict[str, tuple[int, ...]] = {
        "center": (n_features,),
        "axes": (n_features, d),
        "points": (n, d),
        **dict.fromkeys(labels, (n,)),
    }
    if own.keys() != shapes.keys() or not labels or not d or not 0 < n <= N_POINTS:
        msg = f"the training rows' descriptors are damaged: {', '.join(sorted(own))}"
        raise ModelFileError(msg)
    for key, shape in shapes.items():
        array = own[key]
        numbers = array.dtype.kind == "f" and array.shape == shape
        # not a number, either
        bound = LARGEST_LABEL if key in labels else BOUND
        if not numbers or not (np.abs(array.astype(np.float64)) <= bound).all():
            msg = (
                f"the training rows' descriptors are damaged: {key} is "
                f"{array.dtype}{array.shape}, finite numbers of shape {shape} belong "
                "there"
            )
            raise ModelFileError(msg)
    center, axes, points = (
        own[key].astype(np.float64) for key in ("center", "axes", "points")
    )
    return Neighborhood(
        Space(center, axes),
        points,
        {k.removeprefix("labels/"): a.astype(np.float64) for k, a in labels.items()},
    )
