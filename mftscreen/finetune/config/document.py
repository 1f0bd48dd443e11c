"""Configuration files as text: one that builds on another is made whole.

A file with a key ``base: FILE`` has all of that file's top-level keys but those that it
gives itself. A key replaces the base's whole block, and ``key: null`` drops it. Since
blocks are put together as text, comments stay, and what ``mftscreen recipes show``
prints is what is read. Relative paths other than ``base`` start at the folder of the
file that is given, wherever they are written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mftscreen.errors import ConfigError

__all__ = ["merge_blocks", "parse_yaml", "read_document"]

_MAX_BYTES = 1 << 20
_MAX_BRACKETS = 100
_MAX_VALUES = 10_000
"""Of a file; one in which a value contains itself has no end of them."""

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


def merge_blocks(
    document: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a document with changed keys; within a block, those that are named.

    Parameters
    ----------
    document, changes : mapping
        As read from YAML. Not changed.

    Examples
    --------
    >>> merge_blocks({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 0}, "d": {}})
    {'a': {'b': 0, 'c': 2}, 'd': {}}
    """
    merged = dict(document)
    for key, value in changes.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_blocks(below, value)
        else:
            merged[key] = value
    return merged


def _compose(path: Path, above: tuple[Path, ...]) -> str:
    text = _read(path)
    if path.resolve() in above:
        raise ConfigError(["base: the file is its own base"], path=path)
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
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            problem = f"is longer than the {_MAX_BYTES} bytes that are read"
            raise ConfigError([problem], path=path)
        return content.decode().replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError([error.strerror or str(error)], path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 text: {error}"], path=path) from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([f"is no path: {error}"]) from error  # with a NUL


def parse_yaml(text: str, path: Path) -> Any:
    """Return what a YAML text says.

    Parameters
    ----------
    text : str
    path : Path
        For messages.

    Returns
    -------
    object

    Raises
    ------
    ConfigError
        If it is not YAML, gives a key twice, or has a value that contains itself or
        many times the same.
    """
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError([f"not YAML: {error}"], path=path) from error
    waiting, n_values = [values], 0
    while waiting:
        value = waiting.pop()
        n_values += 1
        if n_values > _MAX_VALUES:
            problem = f"holds more than {_MAX_VALUES} values, or one that holds itself"
            raise ConfigError([problem], path=path)
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return values


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses deep brackets, and a key which is given twice."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        """Read a bracket, as :mod:`yaml` asks for it; many take it hours."""
        if self.flow_level >= _MAX_BRACKETS:
            msg = f"more than {_MAX_BRACKETS} brackets are in each other"
            raise yaml.scanner.ScannerError(None, None, msg, self.get_mark())
        super().fetch_flow_collection_start(TokenClass)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, as :mod:`yaml` asks for it."""
        keys = (key.value for key, _ in node.value if isinstance(key.value, str))
        for key, n in Counter(keys).items():
            if key != "<<" and n > 1:
                msg = f"the key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(
                    None, None, msg, node.start_mark
                )
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


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
    values = parse_yaml(text, path)
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
