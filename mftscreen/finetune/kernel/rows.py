"""Labelled rows with their descriptors, and what settings of a kernel make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.finetune.kernel.regression import (
    Classifier,
    Kernel,
    Ridge,
    SupportVectors,
)
from mftscreen.model.readouts.kernel import LARGEST, Pooling, compositions
from mftscreen.transforms import Transform
from mftscreen.trust.neighborhood import component_scales

__all__ = ["PooledRows", "Setting", "Targets", "kernel_between", "linear_term"]

FloatArray = NDArray[np.float64]

LEAST_VARIANCE = 1e-4
"""Of compositions, summed over elements, below which they are all the same."""
SHRINKAGE = 1e-3
"""Of what elements add, in atoms per row."""


@dataclass(frozen=True)
class Setting:
    """What there is to choose.

    Attributes
    ----------
    regression : SupportVectors, Ridge or Classifier
    pooling : {"mean", "mean_spread"}
    gamma : float
    transform : {"identity", "log10"}
    per_atom : bool
        Whether the share of one atom is fitted, with a number for each element.
    composition_weight : float
        Mean squared distance of two rows' compositions over that of their descriptors,
        of components that vary; 0 leaves compositions out.
    linear_weight : float
        Of the linear term: a mean scalar product over components of variance one; 0
        leaves it out.
    """

    regression: SupportVectors | Ridge | Classifier
    pooling: Pooling = "mean_spread"
    gamma: float = 0.5
    transform: Literal["identity", "log10"] = "identity"
    per_atom: bool = False
    composition_weight: float = 0.0
    linear_weight: float = 0.0


class Vectors(NamedTuple):
    """What the kernel compares.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_features)
        Shifted and scaled, in the precision of a model file.
    center, scale : ndarray of shape (n_features,)
    gamma : float
        For the mean over all components, where that of a setting is for the mean over
        those of the descriptor: compositions add to distances and take nothing away.
    """

    x: FloatArray
    center: FloatArray
    scale: FloatArray
    gamma: float


@dataclass(frozen=True, eq=False)
class PooledRows:
    """Labelled rows with their pooled descriptors.

    Attributes
    ----------
    pooled : ndarray of shape (n_rows, 2 * width)
    labels : ndarray of shape (n_rows, n_components)
    structures : sequence of Atoms
    folds : ndarray of shape (n_rows,)
        Number of the fold that a row is held out in; -1 for those that never are.
    by_size : bool, default False
        Whether the number of atoms says something by itself, as of molecules.
    """

    pooled: FloatArray
    labels: FloatArray
    structures: Sequence[Atoms]
    folds: NDArray[np.int64]
    by_size: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> PooledRows:
        """Return some of the rows."""
        return PooledRows(
            self.pooled[rows],
            self.labels[rows],
            [self.structures[row] for row in rows],
            self.folds[rows],
            self.by_size,
        )

    @cached_property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms of each structure."""
        return np.array([len(atoms) for atoms in self.structures])

    @cached_property
    def symbols(self) -> list[str]:
        """Chemical symbols of all elements that there are."""
        return sorted({s for atoms in self.structures for s in set(atoms.symbols)})

    @cached_property
    def compositions(self) -> FloatArray:
        """Shares of these elements in the atoms, and of others (there are none)."""
        return compositions(self.structures, self.symbols)

    @cached_property
    def learned(self) -> NDArray[np.bool_]:
        """Rows (n_rows,) that are fitted: those that are never held out, or all."""
        never = self.folds < 0
        return never if never.any() else np.ones(len(self), dtype=bool)

    @cached_property
    def composition_variance(self) -> float:
        """Variance of the shares, summed over elements."""
        return float(self.compositions[self.learned].var(axis=0).sum())

    @cached_property
    def sizes(self) -> tuple[float, float]:
        """Mean and spread of the numbers of atoms; without end where they do not count.

        So that what is scaled by them is nothing.
        """
        n_atoms = self.n_atoms[self.learned]
        spread = float(n_atoms.std()) if self.by_size else 0.0
        return float(n_atoms.mean()), spread or np.inf

    @cached_property
    def _standard(self) -> tuple[FloatArray, FloatArray]:
        learned = self.pooled[self.learned]
        return learned.mean(axis=0), component_scales(learned)

    def vectors(self, setting: Setting) -> Vectors:
        """Return what a setting compares."""
        n = self.pooled.shape[1] // (2 if setting.pooling == "mean" else 1)
        x, (center, scale) = self.pooled[:, :n], self._standard
        center, scale = center[:n], scale[:n]
        if setting.composition_weight:
            x = np.hstack([x, self.compositions])
            shares = self.compositions[self.learned].mean(axis=0)
            variance = max(self.composition_variance, LEAST_VARIANCE)
            # each component of the descriptor has a variance of one
            unit = np.sqrt(variance / (setting.composition_weight * n))
            center = np.concatenate([center, shares])
            scale = np.concatenate([scale, np.full(len(shares), unit)])
        x = ((x - center) / scale).clip(-LARGEST, LARGEST)
        return Vectors(
            x.astype(np.float16).astype(np.float64),
            *(center, scale, setting.gamma * x.shape[1] / n),
        )


@dataclass(frozen=True, eq=False)
class Targets:
    """What a setting makes of labels: numbers to fit, and the way back."""

    setting: Setting
    rows: PooledRows

    @cached_property
    def _transform(self) -> Transform:
        return Transform(kind=self.setting.transform)

    @cached_property
    def values(self) -> FloatArray:
        """What is fitted, before what elements add."""
        if self.setting.per_atom:
            return np.asarray(self.rows.labels / self.rows.n_atoms[:, None])
        return self._transform.apply(self.rows.labels)

    def of_elements(self, train: NDArray[np.intp]) -> FloatArray:
        """Return what each element adds, by least squares on some rows."""
        shares = self.rows.compositions[:, :-1]
        if not self.setting.per_atom:
            return np.zeros((shares.shape[1], self.values.shape[1]))
        # about the mean, so that an element that no row has is an average one
        a, b = shares[train], self.values[train] - self.values[train].mean(axis=0)
        matrix = a.T @ a + SHRINKAGE * np.eye(a.shape[1])
        return np.asarray(np.linalg.solve(matrix, a.T @ b))

    def undo(self, values: FloatArray) -> FloatArray:
        """Return labels for what was fitted."""
        if self.setting.per_atom:
            return np.asarray(values * self.rows.n_atoms[:, None])
        return self._transform.undo(values)


def kernel_between(rows: PooledRows, setting: Setting) -> Kernel:
    """Return the kernel that a setting has between rows.

    Parameters
    ----------
    rows : PooledRows
    setting : Setting
    """
    x, _, _, gamma = rows.vectors(setting)
    linear = None
    if setting.linear_weight:
        mean, spread = rows.sizes
        size = (rows.n_atoms - mean)[:, None] / spread
        linear = np.hstack([x / np.sqrt(x.shape[1]), size])
        linear *= np.sqrt(setting.linear_weight)
    return Kernel(x, gamma, setting.regression.precision, linear)


def linear_term(
    rows: PooledRows, setting: Setting, kernel: Kernel, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the linear term of a fit as a function of vectors and numbers of atoms.

    Parameters
    ----------
    rows : PooledRows
    setting : Setting
        With a linear term.
    kernel : Kernel
        That it has between these rows.
    weights : ndarray of shape (n_rows, n_targets)

    Returns
    -------
    factors : ndarray of shape (n_features + 1, n_targets)
        The last one for the number of atoms.
    offset : ndarray of shape (n_targets,)
    """
    if kernel.linear is None:
        msg = "the kernel has no linear term"
        raise ValueError(msg)
    mean, spread = rows.sizes
    d = kernel.x.shape[1]
    scales = np.sqrt(setting.linear_weight) / np.array([*[np.sqrt(d)] * d, spread])
    factors = scales[:, None] * (kernel.linear.T @ weights)
    return factors, -mean * factors[-1]
