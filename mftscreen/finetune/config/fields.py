"""What the blocks of training configurations have in common, and types of values."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from ase.data import chemical_symbols
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
)
from pydantic_core import PydanticCustomError

from mftscreen.data.memory import RowsInMemory, is_structure
from mftscreen.errors import DataError
from mftscreen.model.files.bundle import MAX_DESCRIPTORS
from mftscreen.properties import NORM, check_property_name

__all__ = [
    "BranchName",
    "Components",
    "Element",
    "LabelledTests",
    "PretrainedModel",
    "PretrainedModels",
    "PropertyName",
    "Seed",
    "Settings",
    "Source",
    "Sources",
    "Tests",
]


MAX_COMPONENTS = 1000


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


def _check_source(value: Any) -> Path | RowsInMemory:
    """Return a path, or what is in memory: structures with labels."""
    if isinstance(value, Path | RowsInMemory):
        return value
    if isinstance(value, str):
        return Path(value)
    try:
        return RowsInMemory.of(value)
    except DataError as error:
        kind, text = "path_type", "Input is not a valid path, nor rows in memory"
        raise PydanticCustomError(kind, text) from error


def _as_list(value: Any) -> Any:
    """Return a list of sources, of which one may be given as it is."""
    plain = isinstance(value, list | tuple)
    if value is None or (plain and not any(map(is_structure, value))):
        return value
    return [value]


def _check_single_model(value: Any) -> Any:
    if isinstance(value, list | tuple):
        msg = "only strategy: kernel reads several descriptors; name one model"
        raise ValueError(msg)
    return value


def _check_models(value: Any) -> str | list[str]:
    """Return a model, or several as a list."""
    given = value if isinstance(value, list | tuple) else [value]
    names = [os.fspath(v) if isinstance(v, os.PathLike) else v for v in given]
    if not all(isinstance(name, str) for name in names):
        msg = "a name or path of a model is needed, or a list of these"
        raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = "a model stands in it twice"
        raise ValueError(msg)
    if not 1 <= len(names) <= MAX_DESCRIPTORS:
        msg = f"{len(names)} models; 1 to {MAX_DESCRIPTORS} are possible"
        raise ValueError(msg)
    return names[0] if len(names) == 1 else names


def _check_components(value: list[str] | int) -> list[str] | int:
    number = value if isinstance(value, int) else len(value)
    if not 2 <= number <= MAX_COMPONENTS:
        msg = f"{number} components; 2 to {MAX_COMPONENTS} are possible"
        raise ValueError(msg)
    names = list(map(str, range(value))) if isinstance(value, int) else value
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name == NORM:
            msg = f"{name!r} cannot be a component: letters, digits and underscores can"
            raise ValueError(f"{msg}, but for {NORM!r}" if name == NORM else msg)
    if len(set(names)) < len(names):
        msg = "two components have one name"
        raise ValueError(msg)
    return value


def _check_test_names(tests: dict[str, Any]) -> dict[str, Any]:
    taken = {"train", "validation", "training_set", "n_train"} & tests.keys()
    if taken:
        msg = f"a test set cannot be called {', '.join(sorted(taken))}"
        raise ValueError(msg)
    return tests


Components = Annotated[list[str] | int, AfterValidator(_check_components)]
BranchName = Annotated[str, AfterValidator(_check_branch_name)]
Element = Annotated[str, AfterValidator(_check_element)]
PretrainedModel = Annotated[str, BeforeValidator(_check_single_model)]
PretrainedModels = Annotated[str | list[str], BeforeValidator(_check_models)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PropertyName = Annotated[str, AfterValidator(check_property_name)]
Source: TypeAlias = Annotated[
    Path | RowsInMemory,
    PlainValidator(_check_source),
    PlainSerializer(lambda source: source if isinstance(source, Path) else str(source)),
]
"""Labelled structures: a file, or rows in memory."""
Sources: TypeAlias = Annotated[list[Source], BeforeValidator(_as_list)]
Tests = Annotated[dict[str, Path], AfterValidator(_check_test_names)]
LabelledTests = Annotated[dict[str, Source], AfterValidator(_check_test_names)]
