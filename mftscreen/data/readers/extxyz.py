"""Extended XYZ, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from numpy.typing import NDArray

from mftscreen.data.readers.files import DAMAGED, NAME_KEYS, open_text
from mftscreen.data.readers.symbols import element, reason
from mftscreen.errors import DataError, StructureError

__all__ = ["SPELLED", "iter_extxyz", "parse_frame"]

SPELLED = "spelled"
"""The calculator's parameter that says which labels are spelled otherwise, and how."""

_KEYS = {
    name.lower(): name
    for name in ("Lattice", "Properties", "pbc", "energy", "stress", "virial", "forces")
}
"""Keys that ASE and this project understand, by their spelling in lower case."""
_PLAIN = frozenset(_KEYS.values())
_TENSORS = ("Lattice", "stress", "virial")
_LABELS = ("energy", "stress", "virial")
_NINE_LONG = re.compile(
    r"(?<!\S)(?: (?:stress|virial)(?=\s*=) | (?:Lattice|stress|virial)(?!\S|\s*=) )",
    re.VERBOSE,
)
"""Labels, and words, whose frames ASE refuses if they are not nine numbers."""
_NESTED = re.compile(
    r"""(?<!\S) ((?:lattice|stress|virial) \s*=\s*)
    "? (?:_JSON\s+)? \[\s* (\[ [^="']*? \]) \s*\] "?""",
    re.VERBOSE | re.IGNORECASE,
)
"""Three rows in brackets."""
_COLUMNS = {
    **dict.fromkeys(("species", "symbol", "symbols", "element", "elements"), "species"),
    **dict.fromkeys(("pos", "position", "positions"), "pos"),
    **dict.fromkeys(("force", "forces"), "forces"),
    **dict.fromkeys(("z", "numbers", "atomic_number", "atomic_numbers"), "Z"),
}
"""What columns are called, by their spelling in lower case."""
_KNOWN_COLUMNS = ("species:S:1:pos:R:3", "species:S:1:pos:R:3:forces:R:3")
_NEEDED = {"pos": {"pos"}, "species": {"species", "Z"}}
"""Columns that every frame has, in either form."""
_CELL_KEY = re.compile(
    r"cell|lattice|box|^(latt?|tv|vec(tor)?s?|basis|abc|h|h_?mat(rix)?)\d?$",
    re.IGNORECASE,
)
"""Names under which a cell may stand that ASE does not read as one."""
_CELL_TEXT = re.compile(
    r"\b(?:cell|lattice|box|pbc)\b [^=]{0,40}? (?:\s+ [-+]?\d[-+\d.e]*){3}",
    re.VERBOSE | re.IGNORECASE,
)
"""The same in a comment without keys, as i-PI writes it."""
_VECTOR_STEM = re.compile(
    r"cell|latt|box|vec|basis|^[aehlrtv]?_?$",
    re.IGNORECASE,
)
"""What numbered vectors are called before their number or letter: not dipole_1."""
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_ASSIGNED = re.compile(
    r"""(?: ^ | (?<=\s) ) ([^\s="'{}\[\]]+) \s* = \s*
    ( "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \{[^}]*\} | \[[^\]]*\] | [^\s"']+ )""",
    re.VERBOSE,
)


def iter_extxyz(path: Path) -> Iterator[Atoms | DataError]:
    """Yield the frames of an extended XYZ file, one at a time.

    ASE's own reader seeks, which is quadratic in a compressed file; here each frame's
    text is cut out in one pass and handed to ASE. ``Lattice``, ``Properties``, ``pbc``,
    ``energy``, ``stress``, ``virial`` and the columns ``species``, ``Z``, ``pos`` and
    ``forces`` are understood in other spellings, too (``lattice``, ``force``), a
    stress also as six numbers in Voigt's order (xx, yy, zz, yz, xz, xy), and ids stay
    as they are written (``007``, ``1e3``, ``T``). A stress or virial that is not
    understood stays in ``info``, in capitals where ASE would take it for one.

    Parameters
    ----------
    path : Path
        ``.extxyz`` or ``.xyz``, also compressed (:func:`open_text`).

    Yields
    ------
    Atoms or DataError
        A frame that ASE cannot parse, whose cell seems to stand under a name that it
        does not know, or that has no positions or species is yielded as the error that
        names it, so that the others can still be used.

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
                yield parse_frame(block, path, number)
                number += 1
        except DAMAGED as error:
            msg = f"cannot be read past frame {number}: {error}"
            raise DataError(msg, path=path) from error


def parse_frame(block: list[str], path: Path, number: int) -> Atoms | DataError:
    """Return the frame that some lines are, or the error that names it.

    Parameters
    ----------
    block : list of str
        The lines of one frame.
    path, number
        Where they are from; for the message.
    """
    try:
        try:
            return _read(block)
        except KeyError:  # a species that is no plain symbol
            column = _species_column(block[1])
            if column is None:
                raise
            lines = [_with_symbol(line, column) for line in block[2:]]
            return _read([*block[:2], *lines])
    except Exception as error:  # noqa: BLE001  # whatever a frame makes ASE raise
        msg = f"frame {number} is not valid extxyz: {reason(error)}"
        return DataError(msg, path=path)


def _read(block: list[str]) -> Atoms:
    spelled: dict[str, str] = {}
    parser = partial(_comment, spelled=spelled)
    frames = read_xyz(StringIO("".join(block)), 0, properties_parser=parser)
    atoms = cast("Atoms", next(frames))
    if spelled and atoms.calc is not None:
        atoms.calc.parameters[SPELLED] = spelled
    return atoms


def _species_column(comment: str) -> int | None:
    """Return where in a line the species stands."""
    values = _comment(comment.strip(), {})
    fields = str(values.get("Properties", _KNOWN_COLUMNS[0])).split(":")
    names, widths = fields[::3], fields[2::3]
    if "species" not in names:
        return None
    return sum(map(int, widths[: names.index("species")]))


def _with_symbol(line: str, column: int) -> str:
    fields = line.split()
    fields[column] = element(fields[column])
    return " ".join(fields) + "\n"


def _comment(line: str, spelled: dict[str, str]) -> dict[str, Any]:
    """Parse a comment line as ASE does, but for spellings of keys, and for ids.

    Labels in other spellings are added to `spelled`.
    """
    values = _pairs(line)
    for key in [k for k, value in values.items() if value is True]:
        if key.lower() == "lattice" and not re.search(rf"{key}\s*=", line):
            del values[key]  # a word of a comment
    for key in [k for k in values if k not in _PLAIN and k.lower() in _KEYS]:
        name = _KEYS[key.lower()]
        if name in values:
            continue
        value = _tensor(name, values[key]) if name in _TENSORS else values[key]
        if value is None and name == "Lattice":
            msg = f"{key} is not nine numbers"
            raise StructureError(msg)
        if value is None:
            continue
        del values[key]
        values[name] = value
        if name in _LABELS and key in line:
            spelled[name] = key
    if "stress" in values and _is_lopsided(values["stress"]):
        values["STRESS"] = values.pop("stress")  # ASE would take half of it
    if "Lattice" not in values:
        _check_no_other_cell(values, line)
    if "Properties" in values:
        values["Properties"] = _columns(str(values["Properties"]), spelled)
    names = [k for k in NAME_KEYS if k in values and not isinstance(values[k], str)]
    if names:
        written = dict(_ASSIGNED.findall(line))
        for key in names:
            text = written.get(key, "").strip()
            if text and "_JSON " not in text:
                values[key] = text[1:-1] if text[0] in "\"'{[" else text
    return values


def _pairs(line: str) -> dict[str, Any]:
    """Return keys and values; a stress or virial that ASE refuses, in capitals."""
    flat = _NESTED.sub(lambda m: f'{m[1]}"{re.sub("[][,]", " ", m[2])}"', line)
    values: dict[str, Any]
    try:
        values = key_val_str_to_dict(flat)
    except ValueError:
        values = key_val_str_to_dict(_NINE_LONG.sub(lambda m: m[0].swapcase(), flat))
    return values


def _tensor(name: str, value: Any) -> NDArray[Any] | None:
    """Return nine numbers, or six of a stress, as ASE has them; None if they are not.

    ASE has the rows of nine numbers as columns.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        return None
    if array.size == 9:
        return array.reshape(9).reshape((3, 3), order="F")
    return array if name == "stress" and array.shape == (6,) else None


def _is_lopsided(stress: NDArray[Any]) -> bool:
    """Tell whether a stress is a matrix that is not symmetric."""
    if stress.shape != (3, 3) or not np.isfinite(stress).all():
        return False
    largest, apart = np.abs(stress).max(), np.abs(stress - stress.T).max()
    return bool(apart > 0.02 * largest + 1e-6)


def _check_no_other_cell(values: Mapping[str, Any], line: str) -> None:
    """Raise if a frame without a Lattice is no cluster."""
    found = _other_cell(values, line)
    if found:
        msg = f"a cell seems to be in {found}; it is read from 'Lattice' only"
        raise StructureError(msg)
    pbc = values.get("pbc")
    if pbc is not None and np.any(pbc):
        msg = f"pbc is {pbc} but there is no Lattice"
        raise StructureError(msg)


def _other_cell(values: Mapping[str, Any], line: str) -> str | None:
    """Return where a cell seems to be; None if nowhere."""
    sizes = {
        key: np.size(value)
        for key, value in values.items()
        if isinstance(value, np.ndarray | list) and key != "pbc"
    }
    for key, size in sizes.items():
        if size in (3, 6, 9) and _CELL_KEY.search(key):
            return repr(key)
        vectors = [key[:-1] + k for k in ("123" if key[-1:] == "1" else "abc")]
        named = _VECTOR_STEM.search(key[:-1])
        if named and all(sizes.get(name) == 3 for name in vectors):
            return ", ".join(map(repr, vectors))
    if all(name in values for name in _PARAMETERS):
        return ", ".join(map(repr, _PARAMETERS))
    if "=" not in line and (_CELL_TEXT.search(line) or _is_cell(line.split())):
        return f"the comment {line[:60]!r}"
    return None


def _is_cell(words: Sequence[str]) -> bool:
    """Tell whether a comment is nothing but three vectors."""
    if len(words) != 9:
        return False
    try:
        vectors = np.array(words, dtype=float).reshape(3, 3)
    except ValueError:
        return False
    return bool(abs(np.linalg.det(vectors)) > 1.0)


def _columns(text: str, spelled: dict[str, str]) -> str:
    """Return the columns' names and types as ASE knows them."""
    if text in _KNOWN_COLUMNS:
        return text
    fields = text.split(":")
    names = set(fields[::3])
    for k in range(0, len(fields), 3):
        known = _COLUMNS.get(fields[k].lower())
        if known is not None and known not in names:
            if known == "forces":
                spelled[known] = fields[k]
            fields[k] = known
            names.add(known)
    fields[1::3] = [kind.upper() for kind in fields[1::3]]
    for column, forms in _NEEDED.items():
        if names.isdisjoint(forms):
            msg = f"there is no column {column!r} among {', '.join(fields[::3])}"
            raise StructureError(msg)
    return ":".join(fields)
