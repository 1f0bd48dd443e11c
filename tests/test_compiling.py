"""Compilation where nothing can be written, and what has been compiled."""

from __future__ import annotations

import importlib.util
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from mftscreen.compiling import compiled, interruptible


@pytest.fixture
def warm() -> None:
    """Import all that compiling needs, before it is out of sight."""
    njit(lambda x: 2 * x)(1)


def test_no_folder_for_the_cache(
    warm: None, as_nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as in a container: the installation is read-only, and so is the home folder
    source = as_nobody / "doubling.py"
    source.write_text("def double(x):\n    return 2 * x\n")
    as_nobody.chmod(0o555)
    monkeypatch.setenv("HOME", str(as_nobody))
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("doubling", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(module.double)
    assert compiled(module.double)(21) == 42


@pytest.fixture
def _interrupted_soon() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_interrupted_soon")
def test_an_interrupt_stays_one() -> None:
    def count(n: int) -> tuple[int, NDArray[np.float64]]:
        total = 0.0
        for k in range(n):
            total += math.sin(k)
        return n, np.full(3, total)

    long = njit(count)
    long(1)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(KeyboardInterrupt) as caught, interruptible():
        long(50_000_000)
    assert caught.value.__suppress_context__


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(SystemError, match="of Python itself"), interruptible():
        raise SystemError("of Python itself")
