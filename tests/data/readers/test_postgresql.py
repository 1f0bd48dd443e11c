"""Candidates on a PostgreSQL server that is started for the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ase.build import bulk
from ase.db import connect

from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import count_candidates, iter_candidates


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if not shutil.which("initdb") or not shutil.which("pg_ctl"):
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg2", reason="the extra 'db' is not installed")
    pytest.importorskip("ase_db_backends", reason="the extra 'db' is not installed")
    # PostgreSQL refuses to run as root
    account: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    with TemporaryDirectory() as folder, socket.socket() as free:
        if account:
            shutil.chown(folder, **account)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        data = str(Path(folder) / "data")
        run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL} | account
        subprocess.run(["initdb", "-D", data, "-U", "ase", "-A", "trust"], **run)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        control = ["pg_ctl", "-D", data, "-w", "-l", f"{folder}/log"]
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield f"postgresql://ase:secret@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)


@pytest.mark.slow
def test_rows_of_a_server(server: str) -> None:
    with connect(server) as rows:
        for symbol, gap in (("Si", 1.1), ("Ge", 0.7), ("C", 5.5)):
            rows.write(bulk(symbol, "diamond", a=5.0), gap=gap)
    found = list(iter_candidates(server))
    assert [candidate.id for candidate in found] == ["1", "2", "3"]
    assert [str(candidate.atoms.symbols) for candidate in found] == ["Si2", "Ge2", "C2"]
    assert [c.id for c in iter_candidates(server, "gap>1")] == ["1", "3"]
    assert (count_candidates(server), count_candidates(server, "gap>1")) == (3, 2)
    with pytest.raises(DataError, match=r"ase:\*\*\*@.* malformed"):
        list(iter_candidates(server, "gap>>1"))
    with pytest.raises(DataError, match="cannot be opened as an ASE database"):
        list(iter_candidates(server.replace("/postgres", "/none")))
