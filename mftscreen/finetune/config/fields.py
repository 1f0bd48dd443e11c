"""What the blocks of training configurations have in common, and types of values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from ase.data import chemical_symbols
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mftscreen.properties import check_property_name

__all__ = ["BranchName", "Element", "PropertyName", "Seed", "Settings", "Tests"]


class Settings(BaseModel):
    """A block of keys, none of which may be unknown."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def _check_element(symbol: str) -> str:
    if symbol not in chemical_symbols[1:]:
        msg = f"{symbol!r} is not a chemical symbol"
        raise ValueError(msg)
    return symbol


def _check_branch_name(name: str) -> str:
    # torch's names of weights are made of it, and so is a folder's
    if not re.fullmatch(r"[\w-]+", name):
        msg = f"{name!r} is not made of letters, digits, underscores and dashes"
        raise ValueError(msg)
    return name


def _check_test_names(tests: dict[str, Path]) -> dict[str, Path]:
    taken = {"train", "validation", "training_set", "n_train"} & tests.keys()
    if taken:
        msg = f"a test set cannot be called {', '.join(sorted(taken))}"
        raise ValueError(msg)
    return tests


BranchName = Annotated[str, AfterValidator(_check_branch_name)]
Element = Annotated[str, AfterValidator(_check_element)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PropertyName = Annotated[str, AfterValidator(check_property_name)]
Tests = Annotated[dict[str, Path], AfterValidator(_check_test_names)]
