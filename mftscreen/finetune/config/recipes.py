"""Configurations that come with the package, to be copied and edited."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.document import read_document
from mftscreen.suggestions import did_you_mean

__all__ = [
    "Recipe",
    "copy_recipe",
    "find_recipe",
    "find_recipes",
    "is_study",
    "missing_files",
]


@dataclass(frozen=True)
class Recipe:
    """A configuration, and what stands beside it.

    Attributes
    ----------
    name : str
        Path below the folder of recipes, without ``.yaml`` and ``/config``.
    path : Path
        The YAML file.
    """

    name: str
    path: Path

    @property
    def text(self) -> str:
        """The whole configuration, with its comments."""
        return read_document(self.path)

    @property
    def is_study(self) -> bool:
        """Whether it is of many trainings: for ``mftscreen study``."""
        return is_study(self.text)

    @property
    def summary(self) -> str:
        """The first line of its comment."""
        return self.text.splitlines()[0].lstrip("# ")


def is_study(text: str) -> bool:
    """Return whether a configuration is one of a study, and not of one training.

    Parameters
    ----------
    text : str
        Of a YAML file.
    """
    return re.search(r"^grids\s*:", text, re.MULTILINE) is not None


def recipes_folder() -> Path:
    """Return the folder of recipes, in the package or beside it in a checkout."""
    package = Path(str(files("mftscreen")))
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def find_recipes() -> dict[str, Recipe]:
    """Return all recipes by name, in alphabetical order."""
    folder = recipes_folder()
    recipes = [Recipe(_name(path, folder), path) for path in _configurations(folder)]
    return {r.name: r for r in sorted(recipes, key=lambda recipe: recipe.name)}


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Parameters
    ----------
    name : str

    Raises
    ------
    ConfigError
        If there is none of this name; a close one is named.
    """
    known = find_recipes()
    if name in known:
        return known[name]
    hint = did_you_mean(name, known=known) or "; see 'mftscreen recipes list'"
    raise ConfigError([f"no recipe {name!r}{hint}"])


def copy_recipe(recipe: Recipe, destination: Path) -> list[Path]:
    """Copy a recipe and the files beside it.

    Parameters
    ----------
    recipe : Recipe
    destination : Path
        A folder, made if need be. Configurations that build on another one are written
        whole.

    Returns
    -------
    list of Path
        The files written, the recipe's own configuration first.

    Raises
    ------
    ConfigError
        If a file is there already, or cannot be written.
    """
    own = sorted(
        (path for path in recipe.path.parent.iterdir() if path.is_file()),
        key=lambda path: (path != recipe.path, path.name),
    )
    targets = [destination / path.name for path in own]
    if taken := [str(path) for path in targets if path.exists()]:
        raise ConfigError([f"{', '.join(taken)} exists already; copy elsewhere"])
    try:
        destination.mkdir(parents=True, exist_ok=True)
        for source, target in zip(own, targets, strict=True):
            if source.suffix == ".yaml":
                target.write_text(read_document(source), encoding="utf-8")
            else:
                shutil.copy(source, target)
    except OSError as error:
        raise ConfigError([error.strerror or str(error)], path=destination) from error
    return targets


def missing_files(config: BaseModel) -> list[Path]:
    """Return the files that a configuration names and that are not there.

    Parameters
    ----------
    config : TuneConfig

    Returns
    -------
    list of Path
        Data, splits and pretrained models; to be made or downloaded before training.
    """
    named = dict.fromkeys(path.resolve() for path in _paths(config.model_dump()))
    return [path for path in named if not path.exists()]


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _model_files(item) if key == "pretrained" else _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def _model_files(value: Any) -> Iterator[Path]:
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and name.endswith((".mft", ".pt")):
            yield Path(name)


def _configurations(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.yaml"):
        # a run directory has a configuration, too
        if not (path.parent / "input.json").exists():
            yield path


def _name(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return name.removesuffix("/config")
