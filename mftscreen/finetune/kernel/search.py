"""The settings of a kernel read-out, chosen by cross-validation on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.finetune.kernel.regression import (
    N_SINGLE,
    Classifier,
    Kernel,
    Regression,
    Ridge,
    SupportVectors,
)
from mftscreen.metrics import classification_metrics
from mftscreen.model.readouts.kernel import LARGEST, Pooling, compositions
from mftscreen.transforms import Transform
from mftscreen.trust.platt import fit_platt

__all__ = [
    "Metric",
    "PooledRows",
    "Setting",
    "Targets",
    "choose_setting",
    "cross_validate",
    "kernel_between",
    "linear_term",
]

FloatArray = NDArray[np.float64]
Metric: TypeAlias = Literal["mae", "rmse", "log_loss"]

N_SEARCHED = 2500
"""Rows that settings are chosen on, drawn at random."""

GAMMAS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0)
COSTS = (0.3, 1.0, 3.0, 10.0, 30.0)
TOLERANCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
NOISES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LINEAR_WEIGHTS = (0.0, 0.3)
"""Larger ones make little difference (``benchmarks/linear_term.py``)."""
COMPOSITION_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
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


_METHODS: Mapping[
    Metric, tuple[SupportVectors | Ridge | Classifier, Mapping[str, Sequence[float]]]
] = {
    "mae": (SupportVectors(), {"cost": COSTS, "tolerance": TOLERANCES}),
    "rmse": (Ridge(), {"noise": NOISES}),
    "log_loss": (Classifier(), {"cost": COSTS}),
}
"""What is fitted, with what there is to choose beside what all have."""


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
        spread = learned.std(axis=0)
        # nothing is learned of a component that is the same everywhere but for rounding
        return learned.mean(axis=0), np.maximum(spread, 1e-4 * spread.max() or 1.0)

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


def cross_validate(
    rows: PooledRows,
    setting: Setting,
    kernel: Kernel | None = None,
    start: Regression | None = None,
) -> FloatArray:
    """Return what is predicted of each row by a fit to the rows of other folds.

    Parameters
    ----------
    rows : PooledRows
    setting : Setting
    kernel : Kernel, optional
        Between the rows, if another setting has had the same.
    start : Regression, optional
        A fit to all rows, with which those to some of them are sooner done.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        What :attr:`Targets.values` are fitted; NaN for rows that no fold holds out.
    """
    kernel = kernel or kernel_between(rows, setting)
    targets = Targets(setting, rows)
    outputs = np.full(rows.labels.shape, np.nan)
    for fold in np.unique(rows.folds[rows.folds >= 0]):
        held_out = np.flatnonzero(rows.folds == fold)
        train = np.flatnonzero(rows.folds != fold)
        share = rows.compositions[:, :-1] @ targets.of_elements(train)
        found = setting.regression.fit(kernel, targets.values - share, train, start)
        outputs[held_out] = kernel.evaluate(found, held_out) + share[held_out]
    return outputs


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


@dataclass
class _Search:
    """Settings that have been tried, with their errors."""

    rows: PooledRows
    metric: Metric
    tried: dict[Setting, float] = field(default_factory=dict)
    _last: tuple[tuple[Any, ...], Kernel] | None = None

    def error(self, setting: Setting) -> float:
        if setting not in self.tried:
            outputs = cross_validate(self.rows, setting, self._kernel(setting))
            values = Targets(setting, self.rows).undo(outputs)
            held_out = self.rows.folds >= 0
            errors = self._measure(values[held_out], self.rows.labels[held_out])
            self.tried[setting] = float((errors / self._spread).mean())
        return self.tried[setting]

    def _kernel(self, setting: Setting) -> Kernel:
        """Return the kernel of a setting, which costs and tolerances do not change."""
        key = (
            *(setting.pooling, setting.gamma),
            *(setting.composition_weight, setting.linear_weight),
        )
        if self._last is None or self._last[0] != key:
            self._last = key, kernel_between(self.rows, setting)
        return self._last[1]

    def _measure(self, values: FloatArray, labels: FloatArray) -> FloatArray:
        """Return a mean error for each component."""
        if self.metric == "log_loss":
            # two numbers that are fitted to all rows make little difference
            made = fit_platt(values[:, 0], labels[:, 0]).undo(values[:, 0])
            return np.array([classification_metrics(made, labels[:, 0])["log_loss"]])
        errors = np.abs(values - labels)
        return np.asarray((errors if self.metric == "mae" else errors**2).mean(axis=0))

    @cached_property
    def _spread(self) -> FloatArray:
        """What errors of each component are counted in, so that all count alike."""
        if self.metric == "log_loss":
            return np.ones(1)
        labels = self.rows.labels
        spread = self._measure(np.median(labels, axis=0), labels)
        return np.where(spread > 0.0, spread, 1.0)

    def best(self, settings: Sequence[Setting]) -> Setting:
        return min(settings, key=self.error)

    def climb(self, setting: Setting, key: str, values: Sequence[float]) -> Setting:
        """Go along an ordered list of values while the error gets smaller."""
        for step in (1, -1):
            place = values.index(_get(setting, key)) + step
            while 0 <= place < len(values):
                following = _set(setting, key, values[place])
                if not self.error(following) < self.error(setting):
                    break
                setting, place = following, place + step
        return setting


def choose_setting(
    rows: PooledRows,
    metric: Metric,
    *,
    per_atom: Sequence[bool] = (False,),
    linear: bool = False,
) -> Setting:
    """Return the setting with the least cross-validated error.

    Parameters
    ----------
    rows : PooledRows
    metric : {"mae", "rmse", "log_loss"}
        Of the labels as they are. For ``mae`` support vectors are fitted, for ``rmse``
        ridge, for ``log_loss`` a classifier to labels of 0 and 1.
    per_atom : sequence of bool
        What may be fitted.
    linear : bool, default False
        Whether a linear term is tried. Support vectors of more rows than have a matrix
        have none: LIBSVM knows no sum of two kernels.

    Returns
    -------
    Setting

    Notes
    -----
    One setting after the other is varied until nothing gets better. Of many rows, a
    part is looked at. Components have their settings in common; the error is the mean
    of theirs, each in units of the spread of its labels.
    """
    # a label that cannot have one may be among rows that are not looked at
    scales: list[Literal["identity", "log10"]] = ["identity"]
    if metric != "log_loss" and (rows.labels > 0.0).all():
        scales.append("log10")
    search = _Search(_part(rows), metric)
    regression, own = _METHODS[metric]
    setting = search.best([Setting(regression, per_atom=share) for share in per_atom])
    axes = {"gamma": GAMMAS, **own}
    weights: Sequence[float] = COMPOSITION_WEIGHTS
    if search.rows.composition_variance < LEAST_VARIANCE:
        weights = COMPOSITION_WEIGHTS[:1]
    before = None
    while setting != before:
        before = setting
        # all of them: a small weight may be no better than none, and a large one be
        setting = search.best([replace(setting, composition_weight=w) for w in weights])
        if linear and (metric == "rmse" or len(rows) <= N_SINGLE):
            setting = search.best(
                [replace(setting, linear_weight=w) for w in LINEAR_WEIGHTS]
            )
        for key, values in axes.items():
            setting = search.climb(setting, key, values)
        setting = search.best(
            [
                replace(setting, pooling=pooling, transform=scale)
                for pooling in get_args(Pooling)
                for scale in (scales if not setting.per_atom else scales[:1])
            ]
        )
    return setting


def _part(rows: PooledRows) -> PooledRows:
    """Return rows enough to choose settings on, up to half of them held out ones."""
    if len(rows) <= N_SEARCHED:
        return rows
    drawn = np.random.default_rng(0).permutation(len(rows))
    never = rows.folds[drawn] < 0
    if not never.any():
        return rows.take(np.sort(drawn[:N_SEARCHED]))
    held_out, learned = drawn[~never], drawn[never]
    n = max(min(len(held_out), N_SEARCHED // 2), N_SEARCHED - len(learned))
    return rows.take(np.sort(np.concatenate([held_out[:n], learned[: N_SEARCHED - n]])))


def _get(setting: Setting, key: str) -> Any:
    return getattr(setting if key == "gamma" else setting.regression, key)


def _set(setting: Setting, key: str, value: float) -> Setting:
    if key == "gamma":
        return replace(setting, gamma=value)
    settings: Any = {key: value}
    return replace(setting, regression=replace(setting.regression, **settings))
