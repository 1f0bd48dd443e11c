"""Out-of-distribution detection: orbital field matrices, distance to a reference.

Names are imported on first use, because the tessellation needs numba and the detector
needs scikit-learn, which take longer to import than a command's ``--help`` may.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mftscreen.ood.ofm.featurizer import OFMFeaturizer, orbital_field_matrix
    from mftscreen.ood.reference.density import OFMDensityDetector

__all__ = ["OFMDensityDetector", "OFMFeaturizer", "orbital_field_matrix"]

_MODULES = {
    "OFMDensityDetector": "mftscreen.ood.reference.density",
    "OFMFeaturizer": "mftscreen.ood.ofm.featurizer",
    "orbital_field_matrix": "mftscreen.ood.ofm.featurizer",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
