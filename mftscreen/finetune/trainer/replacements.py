"""Parts of deepmd-kit that training replaces, for speed or a fault of Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from deepmd.dpmodel.common import to_numpy_array
from deepmd.dpmodel.utils import stat
from deepmd.pt.optimizer import hybrid_muon
from deepmd.utils.data import DeepmdData

from mftscreen.finetune.trainer.orthogonalize import orthogonalize

__all__ = [
    "open_arrays_in_turn",
    "orthogonalize_in_single_precision",
    "sort_elements_without_database",
]


def sort_elements_without_database() -> None:
    """Replace deepmd-kit's list of elements, a database query for each of them.

    For data of 90 elements, that takes a minute of each head before training starts,
    and the database's library takes two seconds to import.
    """

    def collect(samples: Iterable[Mapping[str, Any]], type_map: list[str]) -> list[str]:
        types = {
            kind
            for sample in samples
            for kind in np.unique(to_numpy_array(sample["atype"])).tolist()
            if 0 <= kind < len(type_map)  # the others are virtual
        }
        elements = [type_map[kind] for kind in sorted(types)]
        return sorted(elements, key=lambda e: atomic_numbers.get(e, math.inf))

    stat.collect_observed_types = collect


def orthogonalize_in_single_precision() -> None:
    """Replace deepmd-kit's orthogonalisation in bfloat16, which many CPUs emulate."""
    coefficients = [hybrid_muon.NS_COEFF_FAST] * hybrid_muon.NS_STEPS_FAST
    coefficients += [hybrid_muon.NS_COEFF_POLISH] * hybrid_muon.NS_STEPS_POLISH
    hybrid_muon._batched_newton_schulz_orth = partial(
        orthogonalize, coefficients=coefficients
    )


def open_arrays_in_turn() -> None:
    """Let one thread at a time read the header of a ``.npy`` file.

    deepmd-kit opens the arrays of a frame in threads. Their headers are Python
    literals, and CPython up to 3.11.7 may raise a SystemError, "AST constructor
    recursion depth mismatch", when two threads parse some (python/cpython#106905).
    """
    opened = DeepmdData._create_memmap
    lock = Lock()

    def open_in_turn(path: str, modified: str) -> np.memmap:
        with lock:
            array: np.memmap = opened(path, modified)
        return array

    DeepmdData._create_memmap = staticmethod(open_in_turn)
