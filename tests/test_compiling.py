"""Compilation where nothing can be written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from numba import njit

from mftscreen.compiling import compiled


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
