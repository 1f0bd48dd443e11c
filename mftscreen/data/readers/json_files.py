"""JSON files of structures: pymatgen, MatBench, OPTIMADE; as documents or lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from mftscreen.data.readers.documents import is_ase_row, read_document
from mftscreen.data.readers.files import DAMAGED, NAME_KEYS, Row, find_name, open_text
from mftscreen.data.readers.json_stream import JsonStream
from mftscreen.errors import DataError

__all__ = ["iter_json", "iter_json_lines", "iter_matbench"]

_TABLE = {"index", "columns"}
_ENVELOPE = {
    *("data", "meta", "links", "included", "jsonapi", "errors", "response"),
    "schema",  # of pandas' orient="table"
}
_ASE_OWN = ("ids", "nextid", "metadata")
"""What stands beside the rows of an ASE database."""
_DOCUMENT = {
    "@module", "@class", "@version", "charge", "lattice", "sites", "properties",
    "structure", "type", "attributes", *NAME_KEYS,
}  # fmt: skip


def iter_json(path: Path) -> Iterator[Row]:
    """Yield the structures of a JSON file, one at a time.

    Parameters
    ----------
    path : Path
        ``.json``, also compressed (:func:`open_text`), of one of these layouts: a
        list of documents, a mapping of ids to documents, ``{"entries": [documents]}``,
        one document, a MatBench task, an OPTIMADE response ``{"data": [entries]}``, an
        ASE database, or a table of pandas with a column ``structure`` (any ``orient``
        but ``values``). A document is a pymatgen ``Structure`` or ``Molecule``, a
        ``ComputedStructureEntry`` or another object with a ``structure``.

    Yields
    ------
    Row
        Named by the mapping's key, or by :func:`find_name`.

    Raises
    ------
    DataError
        If the file cannot be read, or cannot be read on, has another layout, or is an
        object without any structure. An OPTIMADE response (with ``meta``) may be empty,
        and so may a list.
    """
    with _json_stream(path) as stream:
        if stream.peek() == "[":
            yield from map(read_document, stream.items())
            return
        keys = stream.keys()
        first = next(keys, None)
        if first is None:
            msg = "holds no structure"
            raise DataError(msg, path=path)
        keys = chain([first], keys)
        if first in _TABLE:
            yield from _matbench_rows(stream, keys, path)
        elif first in _ENVELOPE or first == "entries":
            yield from _listed(stream, keys, path)
        elif first in _DOCUMENT:
            document = {key: stream.value() for key in keys}
            yield from _table(document) or [read_document(document)]
        else:
            yield from _mapped(stream, keys, path)


def _listed(stream: JsonStream, keys: Iterator[str], path: Path) -> Iterator[Row]:
    """Yield the entries of an OPTIMADE response, or of pymatgen's ``entries``."""
    found, empty = set(), True
    for key in keys:
        found.add(key)
        if key in ("data", "entries") and stream.peek() == "[":
            for document in filter(_is_structure, stream.items()):
                empty = False
                yield read_document(document)
        else:
            value = stream.value()
            if key == "data" and isinstance(value, dict):  # of /structures/<id>
                empty = False
                yield read_document(value)
    # OPTIMADE may have nothing to answer
    if empty and not found >= {"meta", "data"}:
        msg = "holds no structure in a list 'data' or 'entries'"
        raise DataError(msg, path=path)


def _mapped(stream: JsonStream, keys: Iterator[str], path: Path) -> Iterator[Row]:
    """Yield the documents of a mapping of ids, the rows of a table or a database."""
    first = True
    for key in keys:
        document = stream.value()
        if key in _ASE_OWN and not _is_document(document):
            continue
        if not first or _is_document(document):
            first = False
            yield _named(key, document)
            continue
        if not isinstance(document, Mapping):
            raise _unknown_layout([key], path)
        # column by column, a table is read as a whole
        whole = {key: document, **{name: stream.value() for name in keys}}
        if is_ase_row(whole):
            yield read_document(whole)
        elif rows := _table(whole):
            yield from rows
        elif any(map(_is_document, whole.values())):
            yield from (_named(name, value) for name, value in whole.items())
        else:
            raise _unknown_layout(list(whole), path)


def _is_document(value: Any) -> bool:
    return isinstance(value, Mapping) and (
        is_ase_row(value) or not _DOCUMENT.isdisjoint(value)
    )


def _named(key: str, document: Any) -> Row:
    return read_document(document)._replace(name=key or None)


def _unknown_layout(keys: Sequence[str], path: Path) -> DataError:
    named = ", ".join(map(repr, keys[:8]))
    msg = (
        f"JSON of unknown layout (it begins with {named}); expected pymatgen "
        "structures or entries as a list or by id, a MatBench task, an OPTIMADE "
        "response, or a table of pandas with a column 'structure'"
    )
    return DataError(msg, path=path)


def _table(columns: Mapping[str, Any]) -> list[Row] | None:
    """Return the rows of a table that pandas wrote column by column, if it is one."""
    structures = columns.get("structure")
    if not isinstance(structures, Mapping) or _DOCUMENT.intersection(structures):
        return None
    if not all(isinstance(column, Mapping) for column in columns.values()):
        return None
    rows = []
    for index, structure in structures.items():
        values = {name: column.get(index) for name, column in columns.items()}
        row = read_document({**values, "structure": structure})
        rows.append(row if row.name else row._replace(name=index))
    return rows


def iter_json_lines(path: Path) -> Iterator[Row]:
    """Yield the structures of a JSON Lines file, one document in each line.

    Parameters
    ----------
    path : Path
        ``.jsonl`` or ``.ndjson``, also compressed (:func:`open_text`). Documents as in
        :func:`iter_json`, or OPTIMADE entries after an ``x-optimade`` header; entries
        of other types than ``structures`` are passed over.

    Yields
    ------
    Row
        A line that is not valid JSON has the error that names it as its structure, so
        that the others can still be used.

    Raises
    ------
    DataError
        If the file cannot be read, or cannot be read on.
    """
    number = 0
    with open_text(path) as stream:
        try:
            for number, line in enumerate(stream, 1):
                text = line.strip("\ufeff \t\r\n")
                if not text:
                    continue
                try:
                    document = json.loads(text)
                except (ValueError, RecursionError) as error:
                    msg = f"line {number} is not valid JSON: {error}"
                    yield Row(None, DataError(msg, path=path), {})
                    continue
                if _is_structure(document):
                    yield read_document(document)
        except DAMAGED as error:
            msg = f"cannot be read past line {number}: {error}"
            raise DataError(msg, path=path) from error


def _is_structure(document: Any) -> bool:
    """Tell a structure from OPTIMADE's header, entry descriptions and references."""
    if not isinstance(document, Mapping):
        return True
    others = ("info", "references", "files", "links")
    return "x-optimade" not in document and document.get("type") not in others


def iter_matbench(path: Path) -> Iterator[Row]:
    """Yield the rows of a MatBench task file, one at a time.

    Parameters
    ----------
    path : Path
        ``matbench_*.json.gz`` as matminer downloads it: ``index``, ``columns`` and
        ``data`` with pymatgen structure dictionaries.

    Yields
    ------
    Row
        Row `i` has the name that MatBench gives it, ``mb-<task>-<i + 1>``, and the
        other columns as values. A table of pandas may
        have a column of names (:func:`find_name`) instead.

    Raises
    ------
    DataError
        If the file cannot be read or has another layout.
    """
    with _json_stream(path) as stream:
        keys = stream.keys() if stream.peek() == "{" else iter(())
        yield from _matbench_rows(stream, keys, path)


def _matbench_rows(
    stream: JsonStream, keys: Iterator[str], path: Path
) -> Iterator[Row]:
    task = path.name.partition(".json")[0].removeprefix("matbench_").replace("_", "-")
    table: dict[str, Any] = {}
    complete = False
    try:
        for key in keys:
            if key != "data":
                table[key] = stream.value()
                continue
            width, number = len(str(len(table["index"]))), 0
            for number, row in enumerate(stream.items(), 1):
                values = dict(zip(table["columns"], row, strict=True))
                structure = read_document(values.pop("structure")).structure
                name = find_name(values) or f"mb-{task}-{number:0{width}d}"
                yield Row(name, structure, values)
            complete = number == len(table["index"])
    except json.JSONDecodeError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise _not_matbench(path) from error
    if not complete:
        raise _not_matbench(path)


def _not_matbench(path: Path) -> DataError:
    msg = "not a MatBench task file (index, columns with structure, then as many data)"
    return DataError(msg, path=path)


@contextmanager
def _json_stream(path: Path) -> Iterator[JsonStream]:
    """Open a JSON document; whatever stops its reading becomes a DataError."""
    with open_text(path) as text:
        stream = JsonStream(text)
        try:
            yield stream
            stream.finish()
        except DataError:
            raise
        except (*DAMAGED, RecursionError, ValueError) as error:
            msg = f"cannot be read as JSON: {error}"
            raise DataError(msg, path=path) from error
