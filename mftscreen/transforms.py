"""What is done to labels before training, and undone in predictions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, PositiveFloat

from mftscreen.errors import DataError

__all__ = ["LARGEST_LABEL", "Transform", "TransformKind"]

LARGEST_LABEL = 1e30
"""What is computed with is squared, and kept in single precision."""

TransformKind = Literal["identity", "log10", "standardise", "logistic"]
"""The last one is for yes or no: labels are 0 and 1, predictions probabilities."""


class Transform(BaseModel):
    """What is done to a property's labels before a head is trained on them.

    Attributes
    ----------
    kind : {"identity", "log10", "standardise", "logistic"}
    mean, std : float
        In the unit of the property; for ``standardise``. For ``logistic``, which is
        undone by the probability 1 / (1 + exp(-(std * output + mean))).

    Examples
    --------
    >>> scaled = Transform(kind="standardise", mean=1.0, std=0.5)
    >>> scaled.apply([1.0, 2.0])
    array([0., 2.])
    >>> scaled.undo([0.0, 2.0])
    array([1., 2.])
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: TransformKind = "identity"
    mean: float = 0.0
    std: PositiveFloat = 1.0

    @classmethod
    def fit(cls, kind: TransformKind, labels: ArrayLike) -> Transform:
        """Return a transform whose parameters are those of the training labels.

        Parameters
        ----------
        kind : {"identity", "log10", "standardise", "logistic"}
        labels : array_like of shape (n_structures,)

        Returns
        -------
        Transform

        Raises
        ------
        DataError
            If labels are to be standardised and are all the same.

        Examples
        --------
        >>> Transform.fit("standardise", [1.0, 3.0])
        Transform(kind='standardise', mean=2.0, std=1.0)

        Notes
        -----
        Of ``logistic``, outputs of a head that is scaled as its labels are give the
        share of the labels at first.
        """
        if kind == "logistic":
            known = np.asarray(labels, dtype=np.float64)
            share = (float(known.sum()) + 1.0) / (len(known) + 2.0)
            scale = (share * (1.0 - share)) ** -0.5
            shift = float(np.log(share / (1.0 - share))) - scale * share
            return cls(kind=kind, mean=shift, std=scale)
        if kind != "standardise":
            return cls(kind=kind)
        values = np.asarray(labels, dtype=np.float64)
        if not values.size:
            msg = "there are no labels, which cannot be standardised"
            raise DataError(msg)
        mean, std = float(values.mean()), float(values.std())
        # rounding may leave a deviation, or take it away
        if np.ptp(values) == 0.0 or not std > 0.0:
            msg = f"all labels are {mean:g}, which cannot be standardised"
            raise DataError(msg)
        return cls(kind=kind, mean=mean, std=std)

    def apply(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return training targets for labels.

        Raises
        ------
        DataError
            If a logarithm is asked for of a number that is not positive.
        """
        labels = np.asarray(values, dtype=np.float64)
        if self.kind == "logistic":
            return labels
        if self.kind == "log10":
            if not (labels > 0.0).all():
                msg = f"log10 of {labels.min():g}; it is for positive labels only"
                raise DataError(msg)
            return np.asarray(np.log10(labels))
        return np.asarray((labels - self.mean) / self.std)

    def undo(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values in the property's unit for what a head gives."""
        outputs = np.asarray(values, dtype=np.float64)
        if self.kind == "log10":
            with np.errstate(over="ignore"):  # callers look for what is not finite
                return np.asarray(10.0**outputs)
        inner = outputs * self.std + self.mean
        if self.kind == "logistic":
            return np.asarray(np.exp(-np.logaddexp(0.0, -inner)))
        return np.asarray(inner)
