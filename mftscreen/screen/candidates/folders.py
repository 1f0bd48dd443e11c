"""The files of a folder or a glob pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mftscreen.data.readers import plain_name
from mftscreen.errors import DataError
from mftscreen.screen.work.journal_file import DATABASE as JOURNAL

__all__ = ["has_place_for", "is_glob", "is_same", "list_files"]

MODELS = "models"
"""Folder of a run with the models that were in memory."""


def is_glob(path: Path) -> bool:
    """Tell a glob pattern from a path: what exists is no pattern.

    Examples
    --------
    >>> is_glob(Path("relaxed/**/*.cif")), is_glob(Path("relaxed/a.cif"))
    (True, False)
    """
    return bool(_split(path)[1])


def list_files(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder or glob, sorted.

    Hidden files and what belongs to the run of a screening are passed over; in a
    folder also CSV tables, which list other files.

    Parameters
    ----------
    source : Path

    Yields
    ------
    path : Path
        A folder in a folder that cannot be listed is yielded, too.
    label : str
        The path from the folder, or from the part of the pattern without wildcards.

    Raises
    ------
    DataError
        If the folder cannot be listed.
    """
    base, pattern = _split(source)
    paths: Iterator[Path]
    if pattern:
        found = sorted(base.glob(str(Path(*pattern))))
        paths = (
            path
            for path in found
            if not (_is_passed_over(path) or path.is_dir() or _in_run(path, base))
        )
    else:
        paths = _walk(source, set())
    for path in paths:
        yield path, path.relative_to(base).as_posix()


def has_place_for(source: Path, path: Path) -> bool:
    """Tell whether a file is one of a folder or glob, or would be once it is written.

    Parameters
    ----------
    source : Path
    path : Path
        Need not exist.

    Returns
    -------
    bool
        Also True for another path of the same file.
    """
    if path.exists() and any(is_same(path, file) for file, _ in list_files(source)):
        return True
    base, pattern = _split(source)
    path, base = path.resolve(), base.resolve()
    if not path.is_relative_to(base) or _is_passed_over(path) or _in_run(path, base):
        return False
    parts = path.relative_to(base).parts
    if pattern:
        return _matches(parts, pattern)
    return not (_is_table(path) or any(part.startswith(".") for part in parts))


def is_same(path: Path, other: Path) -> bool:
    """Tell whether two paths are of one file, which is there."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _split(source: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the part without wildcards, and the others; none if it is no pattern."""
    parts = source.parts
    for k, part in enumerate(parts):
        if glob.has_magic(part) and not os.path.lexists(Path(*parts[: k + 1])):
            return Path(*parts[:k]), parts[k:]
    return source, ()


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether :meth:`pathlib.Path.glob` would find a file."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return any(_matches(parts[k:], pattern[1:]) for k in range(len(parts)))
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files below a folder; each folder once, links that loop or not."""
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        if seen:  # one of many: to be reported as what cannot be read
            yield folder
            return
        msg = f"cannot be listed: {error.strerror}"
        raise DataError(msg, path=folder) from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if _is_passed_over(entry):
            continue
        if not entry.is_dir():
            if not _is_table(entry):
                yield entry
        elif not _is_run(entry):
            yield from _walk(entry, seen)


def _in_run(path: Path, base: Path) -> bool:
    """Tell whether a run folder lies between a folder and a file below it."""
    between = path.relative_to(base).parents
    return any(_is_run(base / folder) for folder in between if folder.parts)


def _is_run(folder: Path) -> bool:
    return os.path.lexists(folder / JOURNAL)


def _is_passed_over(path: Path) -> bool:
    """Tell hidden files and those of a run, which may lie beside candidates."""
    if path.suffix == ".mft" and path.parent.name == MODELS:
        return _is_run(path.parent.parent)
    return path.name.startswith((".", JOURNAL))


def _is_table(path: Path) -> bool:
    return plain_name(path).lower().endswith(".csv")
