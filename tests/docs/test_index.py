"""What the first page of the site shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

INDEX = Path(__file__).parents[2] / "docs" / "index.md"


@pytest.mark.slow
def test_the_ten_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", INDEX.read_text("utf-8"), re.DOTALL)
    exec(compile(block, "index.md", "exec"), {"__name__": "index"})
    energy, table = capsys.readouterr().out.split("\n", 1)
    assert float(energy.split()[0]) < 0
    assert "ood_p_value" in table
