"""Screening of materials with multi-task fine-tuned atomistic models.

Public names are imported when they are first used, so that ``import mftscreen`` is
quick and needs nothing heavier than ASE.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

__all__ = [
    "MFTCalculator",
    "MFTRegressor",
    "MftscreenError",
    "OFMDensityDetector",
    "Predictor",
    "PropertySpec",
    "ScreenResult",
    "__version__",
    "compare",
    "diagnose",
    "finetune",
    "load_model",
    "orbital_field_matrix",
    "rank",
    "relax",
    "split",
]

if TYPE_CHECKING:
    from mftscreen.calculator import MFTCalculator
    from mftscreen.errors import MftscreenError
    from mftscreen.finetune.tune import compare, finetune
    from mftscreen.jobs.diagnose import diagnose
    from mftscreen.jobs.estimator import MFTRegressor
    from mftscreen.jobs.relax import relax
    from mftscreen.jobs.split import split
    from mftscreen.model.loading import load_model
    from mftscreen.ood import OFMDensityDetector, orbital_field_matrix
    from mftscreen.predictor import Predictor
    from mftscreen.properties import PropertySpec
    from mftscreen.screen.rank import rank
    from mftscreen.screen.result.screen_result import ScreenResult

_HOME = {
    "MFTCalculator": "calculator",
    "MFTRegressor": "jobs.estimator",
    "MftscreenError": "errors",
    "OFMDensityDetector": "ood",
    "Predictor": "predictor",
    "PropertySpec": "properties",
    "ScreenResult": "screen.result.screen_result",
    "compare": "finetune.tune",
    "diagnose": "jobs.diagnose",
    "load_model": "model.loading",
    "orbital_field_matrix": "ood",
    "rank": "screen.rank",
    "relax": "jobs.relax",
    "split": "jobs.split",
}


def __getattr__(name: str) -> Any:
    if name == "finetune":  # a package that can be called
        return importlib.import_module("mftscreen.finetune")
    if name in _HOME:
        return getattr(importlib.import_module(f"mftscreen.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
