"""Training configurations: YAML in, the frozen pydantic model of a strategy out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, Tag, TypeAdapter, ValidationError

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.document import parse_yaml, read_document
from mftscreen.finetune.strategies import STRATEGIES, TuneConfig
from mftscreen.finetune.strategies.plan import Strategy
from mftscreen.model.files.registry import trained_model
from mftscreen.suggestions import did_you_mean

__all__ = ["as_config", "explain_problem", "is_same", "load_config", "resolve_paths"]

_PYDANTIC = re.compile(r"\[key\]|bool|constrained-(float|int|str)|(literal|list)\[.*\]")
"""What pydantic adds to a place: the name of an entry, or one type of several."""

_ADAPTER: TypeAdapter[TuneConfig] = TypeAdapter(TuneConfig)


def load_config(path: Path) -> TuneConfig:
    """Read a configuration; relative paths in it start at its own folder.

    Parameters
    ----------
    path : Path
        A YAML file, which may build on another one with ``base: FILE`` (see
        :mod:`mftscreen.finetune.config.document`).

    Returns
    -------
    TuneConfig
        Of the class in :mod:`mftscreen.finetune.strategies` that its ``strategy`` is.

    Raises
    ------
    ConfigError
        With every problem at once, and the closest valid key for an unknown one.
    """
    return _build(parse_yaml(read_document(path), path), path.parent, path)


def as_config(config: TuneConfig | Mapping[str, Any] | str | Path) -> TuneConfig:
    """Return a configuration, however it is given.

    Parameters
    ----------
    config : TuneConfig, mapping, str or Path
        The path of a YAML file; or the same keys and values in Python, with paths that
        start at the current folder.

    Returns
    -------
    TuneConfig

    Raises
    ------
    ConfigError
        As :func:`load_config`, or if it is none of these.

    Examples
    --------
    >>> as_config({"strategy": "kernel", "nam": "mine"})
    Traceback (most recent call last):
    ...
    mftscreen.errors.ConfigError: 5 problems
      name: is missing
      ...
    """
    if isinstance(config, str | Path):
        return load_config(Path(config))
    if isinstance(config, Mapping):
        return _build(_plain(config), Path(), None)
    if isinstance(config, Strategy):
        return config
    problem = (
        "a configuration is the path of a YAML file, a dictionary of its keys, or what "
        f"load_config returns, not {type(config).__name__}"
    )
    raise ConfigError([problem])


def _build(document: Any, folder: Path, path: Path | None) -> TuneConfig:
    if not isinstance(document, dict):
        raise ConfigError(["a mapping of keys to values is expected"], path=path)
    try:
        config = _ADAPTER.validate_python(document)
    except ValidationError as error:
        problems = [explain_problem(dict(e)) for e in error.errors()]
        raise ConfigError(problems, path=path) from error
    resolved: TuneConfig = resolve_paths(config, folder.resolve())
    return resolved


def _plain(value: Any) -> Any:
    """Return values as YAML has them: dictionaries, texts, what enums mean."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return _plain(dict(value))
    return value


def is_same(config: TuneConfig, written: Any) -> bool:
    """Return whether a configuration was written so, by this version or another.

    Parameters
    ----------
    config : TuneConfig
    written : object
        What was read back of a configuration.
    """
    # rows in memory are not read back
    if written == config.model_dump(mode="json"):
        return True
    try:
        # keys may have come since, which have defaults
        return type(config).model_validate(written) == config
    except ValidationError:
        return False


def explain_problem(error: dict[str, Any], model: Any = None) -> str:
    """Return a problem that pydantic has found, as users have to hear of it.

    Parameters
    ----------
    error : dict
        What ``ValidationError.errors`` has of it.
    model : type, optional
        The configuration's class; by default one of a strategy, which `error` names.

    Returns
    -------
    str
        With the closest valid key for an unknown one.
    """
    parts = map(str, error["loc"])
    location = [part for part in parts if not _PYDANTIC.fullmatch(part)]
    if model is None and location and location[0] in STRATEGIES:
        model = STRATEGIES[location[0]]
        location = location[1:]
    location, known = _walk(model, location)
    where = ".".join(location)
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(location[-1], known=known)
        return f"{where}: unknown key" + (hint or f"; known: {', '.join(known)}")
    if error["type"].startswith("union_tag"):
        hint = did_you_mean(str(error.get("ctx", {}).get("tag", "")), known=STRATEGIES)
        hint = hint or _misspelt(error)
        return f"strategy: one of {', '.join(STRATEGIES)} is needed{hint}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        message = "is missing"
    return f"{where}: {message}" if where else str(message)


def _misspelt(error: Mapping[str, Any]) -> str:
    """Return a question for a document in which no key is called ``strategy``."""
    keys = list(map(str, error["input"]))
    close = (key for key in keys if did_you_mean(key, known=["strategy"]))
    found = None if "strategy" in keys else next(close, None)
    return "" if found is None else f"; is {found!r} meant to be it?"


def _walk(model: Any, location: list[str]) -> tuple[list[str], list[str]]:
    """Return a place as users write it, and the keys that are valid around it."""
    written, known = [], list[str]()
    for part in location:
        kinds = {
            kind.__metadata__[0]: kind for kind in get_args(model) if _is_tag(kind)
        }
        if Tag(part) in kinds:
            model = kinds[Tag(part)].__origin__  # of several, by a key of its own
            continue
        written.append(part)
        known = sorted(getattr(model, "model_fields", {}))
        if getattr(model, "__origin__", None) in (dict, list):
            model = model.__args__[-1]  # the part is a user's key, or a place in a list
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = getattr(field, "annotation", None)
        if isinstance(model, UnionType):  # optional
            model = model.__args__[0]
    return written, known


def _is_tag(kind: Any) -> bool:
    return isinstance(getattr(kind, "__metadata__", [None])[0], Tag)


def resolve_paths(value: Any, folder: Path) -> Any:
    """Return a configuration whose relative paths start at a folder.

    Parameters
    ----------
    value : object
        A configuration, or a part of one.
    folder : Path
    """
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    if isinstance(value, BaseModel):
        update = {
            name: resolve_paths(getattr(value, name), folder)
            for name in type(value).model_fields
        }
        if "pretrained" in update:
            update["pretrained"] = _resolve_models(update["pretrained"], folder)
        return value.model_copy(update=update)
    if isinstance(value, list):
        return [resolve_paths(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: resolve_paths(item, folder) for key, item in value.items()}
    return value


def _resolve_models(value: Any, folder: Path) -> Any:
    """Return where the files of models are; the name of one is left as it is."""
    if isinstance(value, list):
        return [_resolve_models(item, folder) for item in value]
    if not isinstance(value, str):
        return value
    if (trained := trained_model(value, folder)) is not None:
        return str(trained)
    return str(folder / value) if value.endswith((".mft", ".pt")) else value
