"""Pooled descriptors of structures, computed once for each descriptor."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mftscreen.console.progress import progress_bar
from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.many import evaluate_checked
from mftscreen.model.network.side_by_side import Network, SideBySide
from mftscreen.model.readouts.pooling import join_pooled, pool
from mftscreen.writing import cache_folder

__all__ = ["PooledDescriptors"]

FORMAT = 1
"""Another number when other vectors are computed for the same structures."""

BLOCK = 500
"""Structures between two writes."""

WAIT = 30.0
"""Seconds that one process waits for another to write."""

log = logging.getLogger(__name__)


class PooledDescriptors:
    """The pooled descriptors of structures, each computed once.

    Parameters
    ----------
    network : DeepmdNetwork or SideBySide
    keep : bool, default True
        Whether what is computed is kept for other runs, too.
    progress : bool, default False
        Whether to show progress on stderr.

    Notes
    -----
    It is kept in the folder that ``MFTSCREEN_CACHE`` names, by default ``mftscreen`` in
    the user's folder for caches, which may be deleted at any time. Where it cannot be
    written, all is computed anew in the next run. Each of several descriptors side by
    side is kept by itself.
    """

    def __init__(
        self, network: Network, *, keep: bool = True, progress: bool = False
    ) -> None:
        members = network.members if isinstance(network, SideBySide) else (network,)
        self._members = [
            _OneDescriptor(member, keep=keep, progress=progress) for member in members
        ]

    def __call__(self, rows: Sequence[LabelledStructure]) -> NDArray[np.float64]:
        """Return the vectors of structures.

        Parameters
        ----------
        rows : sequence of LabelledStructure

        Returns
        -------
        ndarray of shape (n_rows, 2 * width)
            See :func:`mftscreen.model.readouts.pooling.pool`.

        Raises
        ------
        DataError
            If a descriptor is not finite.
        """
        pooled = join_pooled([member(rows) for member in self._members])
        known = np.isfinite(pooled)
        if bad := [row.id for row, x in zip(rows, known, strict=True) if not x.all()]:
            msg = f"{len(bad)} descriptors are not finite: {', '.join(bad[:5])}"
            raise DataError(msg)
        return pooled


class _OneDescriptor:
    """The pooled descriptors by one network."""

    def __init__(self, network: DeepmdNetwork, *, keep: bool, progress: bool) -> None:
        self._network = network
        self._keep = keep
        self._progress = progress
        self._known: dict[str, NDArray[np.float64]] = {}

    def __call__(self, rows: Sequence[LabelledStructure]) -> NDArray[np.float64]:
        wanted = {row.hash: row for row in rows if row.hash not in self._known}
        if wanted:
            self._find(wanted)
        found = np.array([self._known[row.hash] for row in rows])
        return found.reshape(len(rows), 2 * self._network.width)

    def _find(self, wanted: Mapping[str, LabelledStructure]) -> None:
        network = self._network
        sha256 = network.descriptor_sha256 if self._keep else None
        with _open_cache(sha256) as cache:
            self._known |= _read(cache, wanted, 2 * network.width)
            missing = [row for key, row in wanted.items() if key not in self._known]
            with progress_bar(
                shown=self._progress,
                total=len(missing),
                unit="structure",
                desc="descriptors",
            ) as bar:
                for start in range(0, len(missing), BLOCK):
                    new = dict(_compute(network, missing[start : start + BLOCK]))
                    # not tried again: another process may write for long
                    self._keep = self._keep and _write(cache, new)
                    self._known |= new
                    bar.update(len(new))


def _compute(
    network: DeepmdNetwork, rows: Sequence[LabelledStructure]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    evaluate = partial(network.evaluate, descriptors=True)
    for k, result in evaluate_checked(evaluate, [row.atoms for row in rows]):
        assert result.descriptors is not None
        yield rows[k].hash, pool(result.descriptors)


@contextmanager
def _open_cache(sha256: str | None) -> Iterator[sqlite3.Connection]:
    """Open the file for a descriptor's vectors, or one in memory if that cannot be."""
    cache = None
    try:
        if sha256 is not None:
            path = cache_folder() / "descriptors" / f"{sha256[:32]}-{FORMAT}.sqlite"
            path.parent.mkdir(parents=True, exist_ok=True)
            cache = _connect(path)
    # RuntimeError: there is no home
    except (OSError, RuntimeError, sqlite3.Error) as error:
        log.info("descriptors are not kept: %s", error)
    with closing(cache or _connect(":memory:")) as opened:
        yield opened


def _connect(path: Path | str) -> sqlite3.Connection:
    cache = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    cache.execute(
        "CREATE TABLE IF NOT EXISTS pooled "
        "(hash TEXT PRIMARY KEY, x BLOB, checksum INTEGER)"
    )
    return cache


def _read(
    cache: sqlite3.Connection, wanted: Iterable[str], width: int
) -> dict[str, NDArray[np.float64]]:
    known = {}
    command = "SELECT x, checksum FROM pooled WHERE hash = ?"
    try:
        for key in wanted:
            found = cache.execute(command, (key,)).fetchone()
            # what was cut off, written to by somebody else or not finite, as earlier
            # versions wrote it, is of no use
            if found is None or len(found[0]) != 8 * width:
                continue
            x = np.frombuffer(found[0], dtype="<f8")
            if crc32(key.encode() + found[0]) == found[1] and np.isfinite(x).all():
                known[key] = x
    except (sqlite3.Error, TypeError) as error:
        log.info("descriptors that were kept cannot be read: %s", error)
    return known


def _write(cache: sqlite3.Connection, new: Mapping[str, NDArray[np.float64]]) -> bool:
    """Return whether vectors have been written: all that are finite."""
    # another run may have more memory or another device, and find what this one did not
    finite = {key: x for key, x in new.items() if np.isfinite(x).all()}
    rows = [(key, x.astype("<f8").tobytes()) for key, x in finite.items()]
    checked = [(key, x, crc32(key.encode() + x)) for key, x in rows]
    try:
        cache.execute("BEGIN IMMEDIATE")
        cache.executemany("INSERT OR REPLACE INTO pooled VALUES (?, ?, ?)", checked)
        cache.execute("COMMIT")
    except sqlite3.Error as error:  # a full disk, or others that write for long
        log.info("descriptors are not kept: %s", error)
        if cache.in_transaction:
            cache.execute("ROLLBACK")
        return False
    return True
