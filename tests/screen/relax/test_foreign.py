"""Where calculators are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mftscreen.screen.relax.foreign import load_factory


def test_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the installed command does not look there by itself
    monkeypatch.chdir(tmp_path)
    elsewhere = [folder for folder in sys.path if folder not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", elsewhere)
    monkeypatch.delitem(sys.modules, "mycalc", raising=False)
    Path("mycalc.py").write_text("from ase.calculators.emt import EMT as make\n")
    assert load_factory("mycalc:make").name == "emt"
    del sys.modules["mycalc"]
