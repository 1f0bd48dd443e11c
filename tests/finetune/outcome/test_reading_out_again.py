"""The script of ``recipes/mft-mini`` that reads trained models out again."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from mftscreen.model.files.bundle import Bundle, read_bundle

SCRIPT = Path(__file__).parents[3] / "recipes" / "mft-mini" / "read_out.py"


def _read_out_again(config: Path, model: Path, *options: str) -> Bundle:
    spec = importlib.util.spec_from_file_location("recipe_read_out", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arguments = [str(config), str(model), *options]
    result = CliRunner().invoke(script.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "other training rows" not in result.output
    return read_bundle(Path(options[1]))


@pytest.mark.slow
def test_a_network_that_is_read_out_again_has_the_errors_that_it_had(
    fine_tuned: Path, folder: Path, tmp_path: Path
) -> None:
    before = read_bundle(fine_tuned)
    output = str(tmp_path / "new.mft")
    again = _read_out_again(folder / "ft.yaml", fine_tuned, "-o", output)
    old, new = (b.card.properties["softness"] for b in (before, again))
    assert new.readout == old.readout
    assert new.metrics.keys() == old.metrics.keys() == {"validation", "held out"}
    for test, errors in new.metrics.items():
        assert errors["mae"] == pytest.approx(old.metrics[test]["mae"])
    assert again.calibration.keys() == before.calibration.keys()


@pytest.mark.slow
def test_a_kernel_takes_over_where_it_is_better_on_validation_rows(
    fine_tuned: Path, folder: Path, tmp_path: Path
) -> None:
    options = "-o", str(tmp_path / "new.mft"), "--kernel", "softness"
    again = _read_out_again(folder / "ft.yaml", fine_tuned, *options)
    old = read_bundle(fine_tuned).card.properties["softness"]
    new = again.card.properties["softness"]
    assert old.readout is None
    assert new.readout is not None
    assert new.metrics["validation"]["mae"] < old.metrics["validation"]["mae"]
    assert again.readouts
