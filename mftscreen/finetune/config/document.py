"""Configuration files as text: one that builds on another is made whole.

A file with a key ``base: FILE`` has all of that file's top-level keys but those that it
gives itself. A key replaces the base's whole block, and ``key: null`` drops it. Since
blocks are put together as text, comments stay, and what ``mftscreen recipes show``
prints is what is read. Relative paths other than ``base`` start at the folder of the
file that is given, wherever they are written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mftscreen.errors import ConfigError

__all__ = ["read_document"]

_KEY = re.compile(r"([A-Za-z_]\w*)\s*:(?:\s|$)")
_BASE = re.compile(r"^base\s*:", re.MULTILINE)


def read_document(path: Path) -> str:
    """Return the text of a configuration file, with its base worked in.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    str
        The file's own text if it has no ``base``.

    Raises
    ------
    ConfigError
        If a file cannot be read, is its own base, or has no plain keys on top.
    """
    return _compose(path, ())


def _compose(path: Path, above: tuple[Path, ...]) -> str:
    if path.resolve() in above:
        raise ConfigError(["base: the file is its own base"], path=path)
    text = _read(path)
    if not _BASE.search(text):
        return text
    own = _parse(text, path)
    base = own.blocks.pop("base")
    name = base.value
    if not isinstance(name, str):
        raise ConfigError(["base: the path of a YAML file is expected"], path=path)
    source = path.parent / name
    blocks = _parse(_compose(source, (*above, path.resolve())), source).blocks
    # a replaced block stays in its place; new ones come last
    blocks |= own.blocks
    kept = [block.text for block in blocks.values() if block.value is not None]
    return own.header + base.comment + "".join(kept)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([error.strerror or str(error)], path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 text: {error}"], path=path) from error


@dataclass(frozen=True)
class _Block:
    """A top-level key with its value, and the comment above it."""

    comment: str
    key: str
    body: str
    value: object

    @property
    def text(self) -> str:
        return self.comment + self.body


@dataclass(frozen=True)
class _Document:
    """The comment that a file begins with, and its blocks."""

    header: str
    blocks: dict[str, _Block]


def _parse(text: str, path: Path) -> _Document:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"not YAML: {error}"], path=path) from error
    if not isinstance(values, dict) or not values:
        raise ConfigError(["a mapping of keys to values is expected"], path=path)
    chunks: list[tuple[list[str], str, list[str]]] = []
    comment: list[str] = []
    for line in f"{text.rstrip()}\n".splitlines(keepends=True):
        if match := _KEY.match(line):
            chunks.append((comment, match[1], [line]))
            comment = []
        elif line.startswith("#") or not line.strip():
            comment.append(line)
        elif chunks:
            # a comment at the margin may stand within a block
            chunks[-1][2].extend([*comment, line])
            comment = []
    if [key for _, key, _ in chunks] != list(values):
        problem = "with a base, keys must be plain names at the start of a line"
        raise ConfigError([problem], path=path)
    chunks[-1][2].extend(comment)
    first = chunks[0][0]
    # the header ends with an empty line, or goes with the first key
    size = next((k + 1 for k, line in enumerate(first) if not line.strip()), len(first))
    header, first[:size] = "".join(first[:size]), []
    blocks = {
        key: _Block("".join(comment), key, "".join(lines), values[key])
        for comment, key, lines in chunks
    }
    return _Document(header, blocks)
