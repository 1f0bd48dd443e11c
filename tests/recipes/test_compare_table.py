"""The table of errors that ``recipes/compare`` prints."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from click.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "recipes" / "compare" / "table.py"


def _table(tmp_path: Path, *runs: dict[tuple[str, str], float]) -> list[str]:
    """Print the table of runs, given as OOD errors by strategy and fold."""
    folders = []
    for number, run in enumerate(runs):
        results = [
            {
                "strategy": strategy,
                "fold": fold,
                "metrics": {"id": {"mae": error / 2}, "ood": {"mae": error}},
                "drift": {"w1_train": 3.0} if strategy == "ft" else {},
            }
            for (strategy, fold), error in run.items()
        ]
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "compare.json").write_text(json.dumps({"results": results}))
        folders.append(str(folder))
    main = runpy.run_path(str(SCRIPT))["main"]
    result = CliRunner().invoke(main, folders, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def test_seeds_are_averaged_where_a_run_has_the_fold(tmp_path: Path) -> None:
    first = {("ft", "a"): 0.2, ("mft", "a"): 0.1, ("ft", "b"): 0.4, ("mft", "b"): 0.6}
    second = {("ft", "a"): 0.4, ("mft", "a"): 0.3}
    header, _, *rows, _, ood = _table(tmp_path, first, second)
    assert header.startswith("| strategy | fold | ID MAE | OOD MAE | W1 train |")
    assert rows[0].startswith("| ft | a | 0.15 (0.1-0.2) | 0.3 (0.2-0.4) | 3 |  |")
    assert rows[3].startswith("| mft | b | 0.3 | 0.6 |  |")
    # 0.1/0.2, 0.6/0.4, 0.3/0.4
    assert ood == (
        "OOD MAE: MFT smaller in 2 of 3, MAE of MFT / MAE of FT 0.917 (0.5-1.5)"
    )


def test_one_strategy_alone_is_compared_with_nothing(tmp_path: Path) -> None:
    lines = _table(tmp_path, {("mft", "a"): 0.1})
    assert len(lines) == 3
