"""The bias of each element in a property head: Eq. 17 of arXiv:2601.08486."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.strategies import TuneConfig

__all__ = ["element_bias", "settle_bias"]

log = logging.getLogger(__name__)


def element_bias(
    rows: Sequence[LabelledStructure],
    name: str,
    type_map: Sequence[str],
    *,
    intensive: bool,
) -> NDArray[np.float64]:
    r"""Return what each element adds to a property, in the least-square sense.

    Parameters
    ----------
    rows : sequence of LabelledStructure
        Training data, with what the head is trained on.
    name : str
        Of the label.
    type_map : sequence of str
        Chemical symbols.
    intensive : bool

    Returns
    -------
    ndarray of shape (n_types,) or (n_types, n_components)
        As the labels are numbers or lists. Zero for elements that do not occur.

    Notes
    -----
    With :math:`N_{kz}` atoms of element z in row k, and :math:`N_k` in all, it solves

    .. math:: \sum_z N_{kz}\, p(z) = y_k \quad\text{or}\quad
        \sum_z N_{kz}\, p(z) = N_k y_k \;\text{(intensive)}.

    deepmd-kit 3.2 divides the intensive case by :math:`N_k` and so gives small
    structures more weight; these biases are therefore handed to it.

    References
    ----------
    Eq. 17 of arXiv:2601.08486.

    Examples
    --------
    >>> from ase import Atoms
    >>> rows = [
    ...     LabelledStructure(formula, Atoms(formula), {"mass": np.asarray(mass)})
    ...     for formula, mass in (("H2O", 18.0), ("H2O2", 34.0))
    ... ]
    >>> element_bias(rows, "mass", ["H", "O", "U"], intensive=False).round(6)
    array([ 1., 16.,  0.])
    """
    composition = [Counter(row.atoms.symbols) for row in rows]
    counts = np.array([[c[symbol] for symbol in type_map] for c in composition], float)
    labels = np.array([row.labels[name] for row in rows], dtype=float)
    if intensive:
        labels = (labels.T * counts.sum(axis=1)).T
    bias: NDArray[np.float64] = np.linalg.lstsq(counts, labels)[0]
    return bias


def settle_bias(
    config: TuneConfig, heads: Mapping[str, Mapping[str, Sequence[LabelledStructure]]]
) -> TuneConfig:
    """Return a configuration whose biases can be applied to all of the data.

    An element that the training set lacks has no bias. Where a validation or test set
    holds one, ``bias: global`` takes the place of ``per_element``, with a warning (in
    the paper, by hand, for dielectric). Heads that are taken over keep what they have.

    Parameters
    ----------
    config : TuneConfig
    heads : mapping
        Rows by property, then by part of the data.

    Returns
    -------
    TuneConfig
    """
    plan = config.plan
    if not plan.properties or plan.transfers_properties or not plan.trains:
        return config
    properties = dict(plan.properties)
    for name, settings in plan.properties.items():
        unseen = _unseen_elements(heads[name])
        if settings.has_element_bias and unseen:
            log.warning(
                "%s: validation or test rows hold %s, which no training row does; one "
                "bias for all elements is taken instead of one for each",
                name,
                ", ".join(unseen),
            )
            properties[name] = settings.model_copy(update={"bias": "global"})
    return config.model_copy(update={"properties": properties})


def _unseen_elements(
    split: Mapping[str, Sequence[LabelledStructure]],
) -> list[str]:
    elements = {
        part: {symbol for row in rows for symbol in row.atoms.symbols}
        for part, rows in split.items()
    }
    unseen = set().union(*elements.values()) - elements["train"]
    return sorted(unseen, key=lambda symbol: atomic_numbers[symbol])
