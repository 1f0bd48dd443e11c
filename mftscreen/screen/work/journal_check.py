"""Checksums of a journal's rows: SQLite has none, and takes a changed byte as it is."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from mftscreen.errors import DataError

__all__ = ["checksum", "damaged", "upgrade"]

_COLUMNS = {
    "meta": "name, value",
    "outcomes": "key, outcome, atoms",
    "candidates": "position, id, key, outcome",
}
"""What a row's checksum is made of, by table."""


def checksum(*values: str | bytes | int | None) -> int:
    """Return a checksum of what is in a row.

    Parameters
    ----------
    *values : str, bytes, int or None
        In the order of the columns. Lengths and types count, so that no byte can pass
        from one value to the next.

    Returns
    -------
    int
        A CRC-32, which any one damaged stretch of up to four bytes changes.

    Examples
    --------
    >>> checksum("ab", "c") == checksum("a", "bc")
    False
    """
    found = 0
    for value in values:
        content = value if isinstance(value, bytes) else str(value).encode()
        head = f"{type(value).__name__} {len(content)} "
        found = zlib.crc32(content, zlib.crc32(head.encode(), found))
    return found


def damaged(what: str, folder: Path | None) -> DataError:
    """Return the error for a journal that is not as it was written."""
    msg = (
        f"the journal is damaged: {what}; give the 'mftscreen rank' command again, and "
        "what is lost is computed again"
    )
    return DataError(msg, path=folder)


def upgrade(database: sqlite3.Connection) -> None:
    """Give checksums to the rows of a journal that was made without."""
    database.create_function("checksum_of", -1, checksum, deterministic=True)
    for table, columns in _COLUMNS.items():
        database.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
        database.execute(f"UPDATE {table} SET checksum = checksum_of({columns})")
    # one more row, with the number of those that there are
    row = database.execute("SELECT COUNT(*) FROM candidates").fetchone()
    count = ("n_candidates", str(row[0]))
    database.execute("INSERT INTO meta VALUES (?, ?, ?)", (*count, checksum(*count)))
