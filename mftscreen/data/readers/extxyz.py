"""Extended XYZ, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from mftscreen.data.readers.files import DAMAGED, NAME_KEYS, open_text
from mftscreen.data.readers.symbols import element, reason
from mftscreen.errors import DataError, StructureError

__all__ = ["iter_extxyz"]

_KEYS = {
    name.lower(): name
    for name in ("Lattice", "Properties", "pbc", "energy", "stress", "virial", "forces")
}
"""Keys that ASE and this project understand, by their spelling in lower case."""
_PLAIN = frozenset(_KEYS.values())
_TENSORS = ("Lattice", "stress", "virial")
_COLUMNS = {
    **dict.fromkeys(("species", "symbol", "symbols", "element", "elements"), "species"),
    **dict.fromkeys(("pos", "position", "positions"), "pos"),
    **dict.fromkeys(("force", "forces"), "forces"),
    "z": "Z",
}
"""What columns are called, by their spelling in lower case."""
_KNOWN_COLUMNS = ("species:S:1:pos:R:3", "species:S:1:pos:R:3:forces:R:3")
_OTHER_CELLS = {
    *("cell", "box", "unitcell", "unit_cell", "latt", "lattice_vectors"),
    *("latticevectors", "lattice_vector", "cell_vectors", "tv"),
}
"""Keys in lower case under which a cell may stand that ASE does not read as one."""
_ASSIGNED = re.compile(
    r"""(?: ^ | (?<=\s) ) ([^\s="'{}\[\]]+) \s* = \s*
    ( "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \{[^}]*\} | \[[^\]]*\] | [^\s"']+ )""",
    re.VERBOSE,
)


def iter_extxyz(path: Path) -> Iterator[Atoms | DataError]:
    """Yield the frames of an extended XYZ file, one at a time.

    ASE's own reader seeks, which is quadratic in a compressed file; here each frame's
    text is cut out in one pass and handed to ASE. ``Lattice``, ``Properties``, ``pbc``,
    ``energy``, ``stress``, ``virial`` and the columns ``species``, ``pos`` and
    ``forces`` are understood in other spellings, too (``lattice``, ``force``), and ids
    stay as they are written (``007``, ``1e3``, ``T``).

    Parameters
    ----------
    path : Path
        ``.extxyz`` or ``.xyz``, also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or DataError
        A frame that ASE cannot parse, or whose cell stands under a name that it does
        not know, is yielded as the error that names it, so that the others can still
        be used.

    Raises
    ------
    DataError
        If a line that should hold a number of atoms does not: from there on the
        frames cannot be told apart. Also if the compressed file is truncated.
    """
    number = 0
    with open_text(path) as stream:
        try:
            for header in stream:
                if not header.strip():
                    continue
                # no file has 10^12 atoms, and islice takes no such number
                if not header.strip().isdecimal() or len(header.strip()) > 12:
                    msg = (
                        f"frame {number} should begin with its number of atoms, "
                        f"found {header.strip()[:40]!r}; nothing after it can be read"
                    )
                    raise DataError(msg, path=path)
                block = [header, *islice(stream, int(header) + 1)]
                if len(block) < int(header) + 2:
                    msg = f"frame {number} is cut short: the file ends within it"
                    yield DataError(msg, path=path)
                    return
                yield _parse_frame(block, path, number)
                number += 1
        except DAMAGED as error:
            msg = f"cannot be read past frame {number}: {error}"
            raise DataError(msg, path=path) from error


def _parse_frame(block: list[str], path: Path, number: int) -> Atoms | DataError:
    try:
        try:
            return _read(block)
        except KeyError:  # a species that is no plain symbol
            return _read([*block[:2], *map(_with_symbol, block[2:])])
    except Exception as error:  # noqa: BLE001  # whatever a frame makes ASE raise
        msg = f"frame {number} is not valid extxyz: {reason(error)}"
        return DataError(msg, path=path)


def _read(block: list[str]) -> Atoms:
    frames = read_xyz(StringIO("".join(block)), 0, properties_parser=_comment)
    return cast("Atoms", next(frames))


def _with_symbol(line: str) -> str:
    species, *others = line.split(None, 1)
    return " ".join([element(species), *others])


def _comment(line: str) -> dict[str, Any]:
    """Parse a comment line as ASE does, but for spellings of keys, and for ids."""
    values: dict[str, Any] = key_val_str_to_dict(line)
    for key in [k for k in values if k not in _PLAIN and k.lower() in _KEYS]:
        name = _KEYS[key.lower()]
        if name not in values:
            values[name] = values.pop(key)
            if name in _TENSORS:
                values[name] = _tensor(key, values[name])
    if "Lattice" not in values:
        _check_no_other_cell(values)
    if "Properties" in values:
        values["Properties"] = _columns(str(values["Properties"]))
    names = [k for k in NAME_KEYS if k in values and not isinstance(values[k], str)]
    if names:
        written = dict(_ASSIGNED.findall(line))
        for key in names:
            text = written.get(key, "").strip()
            if text and "_JSON " not in text:
                values[key] = text[1:-1] if text[0] in "\"'{[" else text
    return values


def _tensor(key: str, value: Any) -> Any:
    array = np.asarray(value)
    if array.shape != (9,):
        msg = f"{key} is not nine numbers"
        raise StructureError(msg)
    return array.reshape((3, 3), order="F")


def _check_no_other_cell(values: dict[str, Any]) -> None:
    for key, value in values.items():
        if key.lower() in _OTHER_CELLS and np.size(value) in (3, 6, 9):
            msg = f"a cell seems to be in {key!r}; it is read from 'Lattice' only"
            raise StructureError(msg)
    pbc = values.get("pbc")
    if pbc is not None and np.any(pbc):
        msg = f"pbc is {pbc} but there is no Lattice"
        raise StructureError(msg)


def _columns(text: str) -> str:
    """Return the columns' names and types as ASE knows them."""
    if text in _KNOWN_COLUMNS:
        return text
    fields = text.split(":")
    names = set(fields[::3])
    for k in range(0, len(fields), 3):
        known = _COLUMNS.get(fields[k].lower())
        if known is not None and known not in names:
            fields[k] = known
            names.add(known)
    fields[1::3] = [kind.upper() for kind in fields[1::3]]
    return ":".join(fields)
