"""What callers of :func:`mftscreen.rank` may give, and what the work is done with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from mftscreen.errors import ConfigError
from mftscreen.model.network.backend import Device
from mftscreen.screen.candidates.elements import ElementFilter
from mftscreen.screen.candidates.folders import MODELS
from mftscreen.screen.order.rank_options import plain_value

__all__ = ["as_element_filter", "check_workplace", "model_files"]


def as_element_filter(elements: Any) -> ElementFilter | None:
    """Return a filter, however it is given.

    Parameters
    ----------
    elements : ElementFilter, mapping or None
        A mapping has ``max_elements``, ``exclude`` or both.

    Returns
    -------
    ElementFilter or None

    Raises
    ------
    ConfigError
        If it is none of these, or a value is not allowed.

    Examples
    --------
    >>> as_element_filter({"exclude": ["Pb", "Cd"]}).max_elements is None
    True
    """
    if elements is None or isinstance(elements, ElementFilter):
        return elements
    expected = "elements: a mapping with max_elements, exclude or both is expected"
    if not isinstance(elements, Mapping) or elements.keys() - {
        "max_elements",
        "exclude",
    }:
        raise ConfigError([f"{expected}, got {elements!r}"])
    most, exclude = elements.get("max_elements"), elements.get("exclude") or ()
    if isinstance(exclude, str):
        exclude = exclude.replace(",", " ").split()
    if not (most is None or isinstance(most, Integral)):
        raise ConfigError([f"max_elements: {most!r} is not a whole number"])
    if not (isinstance(exclude, Iterable) and all(isinstance(e, str) for e in exclude)):
        raise ConfigError([f"exclude: {exclude!r} is not a list of chemical symbols"])
    return ElementFilter(None if most is None else int(most), frozenset(exclude))


def check_workplace(run: Any, n_jobs: Any, scheduler: Any, device: Any) -> None:
    """Raise if it is not said properly where to work.

    Raises
    ------
    ConfigError
        Lists all that is not allowed.
    """
    problems = []
    if not isinstance(run, str | os.PathLike | None):
        problems.append(f"run: the path of a folder is expected, got {run!r}")
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or not n_jobs:
        problems.append(f"n_jobs: {n_jobs!r} is neither a number of processes nor -1")
    if not isinstance(scheduler, str | None):
        problems.append(f"scheduler: an address is expected, got {scheduler!r}")
    if device not in get_args(Device):
        allowed = ", ".join(get_args(Device))
        problems.append(f"device: one of {allowed} is needed, got {device!r}")
    if problems:
        raise ConfigError(problems)


@contextmanager
def model_files(folder: Path | None, *groups: Any) -> Iterator[list[list[str | Path]]]:
    """Give names and paths of models, of which some may be in memory.

    Parameters
    ----------
    folder : Path or None
        Where those in memory are kept, in ``models``; None for as long as it takes.
    *groups : object
        None; or a model or several: names, paths, what has a path (a result of
        :func:`mftscreen.finetune`), or what can ``save`` itself (a fitted
        :class:`mftscreen.MFTRegressor`).

    Yields
    ------
    list of list of str or Path
        For each group.

    Raises
    ------
    ConfigError
        If there is something else among them.
    """
    with TemporaryDirectory(prefix="mftscreen-") as temporary:
        place = Path(temporary) if folder is None else folder / MODELS
        yield [
            [_file_of(model, place) for model in _several(group)] for group in groups
        ]


def _several(models: Any) -> list[Any]:
    models = plain_value(models)
    if models is None:
        return []
    if isinstance(models, list | tuple | set):
        return list(models)
    return [models]


def _file_of(model: Any, folder: Path) -> str | Path:
    model = plain_value(model)
    if isinstance(model, str | Path):
        return model
    if isinstance(model, os.PathLike):
        return Path(model)
    if not (hasattr(model, "save") and hasattr(model, "content_")):
        problem = (
            "models: names, paths, fitted estimators or results of finetune are "
            f"expected, got {type(model).__name__}"
        )
        raise ConfigError([problem])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256(model.content_).hexdigest()[:16]}.mft"
    if not path.exists():
        model.save(path)
    return path
