r"""Properties by a Gaussian kernel on pooled descriptors.

With the pooled descriptor of a structure (:func:`~.pooling.pool`), and where that helps
its composition, as a vector :math:`x` of :math:`d` components, shifted and scaled,

.. math:: f(x) = b + \sum_j w_j k(x, z_j), \qquad
    k(x, z) = \exp\Bigl(-\frac{\gamma}{d} \sum_i (x_i - z_i)^2\Bigr),

with training rows :math:`z_j` as landmarks. Of what grows with the structure, a linear
term :math:`v \cdot x + u n`, with the number :math:`n` of atoms of a molecule, may be
part of the kernel, and so of :math:`f`: far from all training rows a Gaussian goes back
to the offset. :math:`f` is the property, its logarithm,
what makes a probability (:mod:`mftscreen.trust.platt`), or its share of one atom, as
the card says. A target of several numbers has weights for each, with the same landmarks
and the same width.

Whatever has been fitted (support vectors, ridge regression), this is all that is left
of it. Landmarks are held in half precision: the weights are fitted to them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from mftscreen.errors import ModelFileError
from mftscreen.transforms import Transform

__all__ = [
    "KernelCard",
    "KernelReadout",
    "Pooling",
    "compositions",
    "gaussian",
    "share_of_elements",
]

FloatArray = NDArray[np.float64]
Pooling = Literal["mean", "mean_spread"]

LARGEST = 6.0e4
"""Of what is stored in half precision."""

BOUND, LARGEST_WEIGHT = 1e12, 1e30
"""Of what vectors are made of, and of weights, which are up to five orders of magnitude
larger than labels: so that what is made of them is finite."""
_KEYS = ("center", "scale", "landmarks", "weights")
_LINEAR = "linear"


class KernelCard(BaseModel):
    """What is said of a kernel read-out on a model's card.

    Attributes
    ----------
    method : {"support_vectors", "ridge", "classifier"}
        What was fitted.
    settings : dict of str to float
        Its settings, in units of the spread of the targets; ``composition_weight`` is
        the mean squared distance of compositions over that of descriptors, and
        ``linear_weight`` a factor of the linear term.
    pooling : {"mean", "mean_spread"}
        Whether the standard deviation over the atoms is part of the vector.
    gamma : float
    transform : Transform
        Of the labels; undone in every prediction.
    per_atom : bool
        Whether :math:`f` is a share of one atom.
    offset : float or list of float
        :math:`b`; a list of it for a target with several numbers.
    error_offset : float, optional
        Of a function for errors, in files of formats 3 and 4; not used any more.
    elements : dict of str to float or list of float
        What the atoms of an element add to the share of one atom.
    composition : list of str
        Elements whose shares of the atoms follow the pooled descriptor in the vector;
        then comes what :func:`compositions` makes of all others.
    linear : bool
        Whether there is a linear term.
    n_landmarks : int
    metrics : dict of str to float
        Errors on rows that were held out; means over several numbers. Of a descriptor
        that was not trained, training rows, in other folds than those that settings
        were chosen in; of one that was, the validation rows that chose the settings,
        so that they are too small where these are few.
    seconds : float
        What choosing the settings and fitting took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["support_vectors", "ridge", "classifier"]
    settings: dict[str, float] = Field(default_factory=dict)
    pooling: Pooling
    gamma: PositiveFloat
    transform: Transform
    per_atom: bool = False
    offset: float | list[float]
    error_offset: float | None = None
    elements: dict[str, float | list[float]] = Field(default_factory=dict)
    composition: list[str] = Field(default_factory=list)
    linear: bool = False
    n_landmarks: int = Field(default=1, ge=1, le=20_000)
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0

    @model_validator(mode="after")
    def _belongs_together(self) -> KernelCard:
        if self.per_atom and self.transform.kind != "identity":
            msg = "a share of one atom has no transform"
            raise ValueError(msg)
        if self.elements and not self.per_atom:
            msg = "only a share of one atom has numbers for elements"
            raise ValueError(msg)
        if any(np.size(own) != self.n_components for own in self.elements.values()):
            msg = f"an element has not {self.n_components} numbers"
            raise ValueError(msg)
        if unknown := {*self.elements, *self.composition} - atomic_numbers.keys():
            msg = f"no elements: {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        if len(set(self.composition)) < len(self.composition):
            msg = "an element of the composition is named twice"
            raise ValueError(msg)
        return self

    @property
    def n_components(self) -> int:
        """How many numbers it gives."""
        return int(np.size(self.offset))


@dataclass(frozen=True, eq=False)
class KernelReadout:
    """A fitted read-out.

    Attributes
    ----------
    card : KernelCard
    center, scale : ndarray of shape (n_features,)
        Of the components of the pooled descriptor and the composition.
    landmarks : ndarray of shape (n_landmarks, n_features)
        Shifted and scaled; half-precision numbers.
    weights : ndarray of shape (n_landmarks, n_components)
        In a file (n_landmarks,) for a single number.
    linear : ndarray of shape (n_features + 1, n_components), optional
        Of the linear term: for the components of the vector and the number of atoms. In
        a file (n_features + 1,) for a single number.
    """

    card: KernelCard
    center: FloatArray
    scale: FloatArray
    landmarks: FloatArray
    weights: FloatArray
    linear: FloatArray | None = None

    @classmethod
    def from_arrays(
        cls, card: KernelCard, arrays: Mapping[str, NDArray[Any]], name: str, width: int
    ) -> KernelReadout:
        """Return the read-out that a model file holds for a property.

        Parameters
        ----------
        card : KernelCard
        arrays : mapping of str to ndarray
        name : str
            Of the property.
        width : int
            Components of the model's descriptor.

        Returns
        -------
        KernelReadout

        Raises
        ------
        ModelFileError
            If arrays are missing, not numbers, not finite or not of the shapes that
            belong together.
        """
        d = width if card.pooling == "mean" else 2 * width
        d += len(card.composition) + 1 if card.composition else 0
        n = card.n_landmarks
        one = np.shape(card.offset)
        shapes = dict(zip(_KEYS, ((d,), (d,), (n, d), (n, *one)), strict=True))
        if card.linear:
            shapes[_LINEAR] = (d + 1, *one)
        parts: dict[str, FloatArray] = {}
        for key, shape in shapes.items():
            array = arrays.get(f"{name}/{key}")
            if array is None or array.dtype.kind != "f" or array.shape != shape:
                what = "missing" if array is None else f"{array.dtype}{array.shape}"
                msg = (
                    f"the kernel read-out of {name} is damaged: {key} is {what}, "
                    f"numbers of shape {shape} belong there"
                )
                raise ModelFileError(msg)
            parts[key] = array.astype(np.float64)
            bound = LARGEST_WEIGHT if key in ("weights", _LINEAR) else BOUND
            # not a number, either
            if not (np.abs(parts[key]) <= bound).all():
                msg = (
                    f"the kernel read-out of {name} is damaged: {key} holds a number "
                    f"that is not finite or beyond {bound:g}"
                )
                raise ModelFileError(msg)
        if not (parts["scale"] >= 1.0 / BOUND).all():
            msg = f"the kernel read-out of {name} is damaged: a scale is not positive"
            raise ModelFileError(msg)
        for key in parts.keys() & {"weights", _LINEAR}:
            parts[key] = parts[key].reshape(len(parts[key]), -1)
        return cls(card, **parts)

    def to_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays for a model file; see :meth:`from_arrays`."""
        stored = {key: getattr(self, key) for key in _KEYS}
        stored["landmarks"] = self.landmarks.astype(np.float16)
        one = np.shape(self.card.offset)
        stored["weights"] = self.weights.reshape(-1, *one)
        if self.linear is not None:
            stored[_LINEAR] = self.linear.reshape(-1, *one)
        return {f"{name}/{key}": array for key, array in stored.items()}

    @cached_property
    def _squares(self) -> FloatArray:
        return np.asarray(np.square(self.landmarks).sum(axis=1))

    def predict(self, pooled: FloatArray, structures: Sequence[Atoms]) -> FloatArray:
        """Return the property of structures.

        Parameters
        ----------
        pooled : ndarray of shape (n_structures, 2 * width)
            From :func:`mftscreen.model.readouts.pooling.pool`.
        structures : sequence of Atoms

        Returns
        -------
        ndarray of shape (n_structures, n_components)
            In the unit of the property.
        """
        card = self.card
        x = (
            pooled
            if card.pooling == "mean_spread"
            else pooled[:, : pooled.shape[1] // 2]
        )
        if card.composition:
            x = np.hstack([x, compositions(structures, card.composition)])
        x = (x - self.center) / self.scale
        kernel = gaussian(x, self.landmarks, card.gamma, self._squares)
        outputs = kernel @ self.weights + card.offset
        n_atoms = np.array([len(atoms) for atoms in structures])[:, None]
        if self.linear is not None:
            outputs += x @ self.linear[:-1] + n_atoms * self.linear[-1]
        if card.elements:
            outputs += share_of_elements(structures, card.elements)
        if card.per_atom:
            return np.asarray(outputs * n_atoms)
        return card.transform.undo(outputs)


def gaussian(
    x: FloatArray, z: FloatArray, gamma: float, squares: FloatArray | None = None
) -> FloatArray:
    """Return the kernel between vectors.

    Parameters
    ----------
    x : ndarray of shape (n, n_features)
    z : ndarray of shape (m, n_features)
    gamma : float
    squares : ndarray of shape (m,), optional
        Of the lengths of `z`, if they are known.

    Returns
    -------
    ndarray of shape (n, m)

    Examples
    --------
    >>> x = np.array([[0.0, 0.0]])
    >>> gaussian(x, np.array([[0.0, 0.0], [1.0, 1.0]]), gamma=np.log(2.0))
    array([[1. , 0.5]])
    """
    if squares is None:
        squares = np.square(z).sum(axis=1)
    # scaled before, and in place: the matrix is what takes time
    factor = gamma / x.shape[1]
    kernel = (2.0 * factor * x) @ z.T
    kernel -= factor * np.square(x).sum(axis=1)[:, None]
    kernel -= factor * squares
    np.minimum(kernel, 0.0, out=kernel)
    return np.asarray(np.exp(kernel, out=kernel))


def compositions(structures: Sequence[Atoms], elements: Sequence[str]) -> FloatArray:
    """Return the shares that elements have in the atoms.

    Parameters
    ----------
    structures : sequence of Atoms
    elements : sequence of str

    Returns
    -------
    ndarray of shape (n_structures, n_elements + 1)
        The last is the length of the vector of all other elements' shares, so that
        distances from structures of `elements` alone are those of whole compositions.

    Examples
    --------
    >>> compositions([Atoms("H3F"), Atoms("HFNeNa")], ["H", "F"]).round(2)
    array([[0.75, 0.25, 0.  ],
           [0.25, 0.25, 0.35]])
    """
    columns = [atomic_numbers[symbol] for symbol in elements]
    shares = np.zeros((len(structures), len(atomic_numbers)))
    for row, atoms in zip(shares, structures, strict=True):
        numbers, counts = np.unique(atoms.numbers, return_counts=True)
        row[numbers] = counts / len(atoms)
    known = shares[:, columns]
    shares[:, columns] = 0.0
    return np.hstack([known, np.linalg.norm(shares, axis=1, keepdims=True)])


def share_of_elements(
    structures: Sequence[Atoms], elements: Mapping[str, float | Sequence[float]]
) -> FloatArray:
    """Return the mean over the atoms of numbers that elements have, 0 if none.

    Parameters
    ----------
    structures : sequence of Atoms
    elements : mapping of str to float or sequence of float
        As many numbers for each of at least one element.

    Returns
    -------
    ndarray of shape (n_structures, n_numbers)

    Examples
    --------
    >>> share_of_elements([Atoms("H2O")], {"H": 3.0})
    array([[2.]])
    """
    numbers = np.array([np.atleast_1d(own) for own in elements.values()])
    return np.asarray(compositions(structures, list(elements))[:, :-1] @ numbers)
