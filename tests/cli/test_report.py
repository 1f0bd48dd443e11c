from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

from mftscreen import rank
from mftscreen.cli import main
from mftscreen.screen.work.journal import Journal


def test_report_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly", reason="reports need plotly")
    monkeypatch.chdir(tmp_path)
    arguments = ["report", str(run), "--diverse", "2", "--map", "none"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 3, done.output  # one candidate has failed
    assert (tmp_path / "report.html").is_file()
    shown = CliRunner().invoke(main, ["results", "show", str(run)])
    *_, summary = done.stderr.splitlines()
    assert summary == shown.stderr.splitlines()[-1]
    assert summary.startswith("5 candidates: 4 predicted")
    assert "not complete" not in done.stderr


def test_a_screening_that_is_not_complete_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly", reason="reports need plotly")
    monkeypatch.setattr(Journal, "complete", False)
    arguments = ["report", str(run), "--map", "none", "-o", str(tmp_path / "a.html")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 3
    assert "this screening is not complete; give its 'mftscreen rank'" in done.stderr


def test_a_report_must_not_become_a_candidate(tmp_path: Path, tiny_model: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    write(pool / "MgO.cif", bulk("MgO", "rocksalt", a=4.2))
    rank(pool, goals="gap", models=tiny_model, run=tmp_path / "run")
    arguments = ["report", str(tmp_path / "run"), "-o", str(pool / "report.html")]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1
    assert "choose another output" in refused.output
