from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from mftscreen.cli import main


def test_report_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly", reason="reports need plotly")
    monkeypatch.chdir(tmp_path)
    arguments = ["report", str(run), "--diverse", "2", "--map", "none"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.html").is_file()
