from __future__ import annotations

import html
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mftscreen.cli import main


def ood(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["ood", *map(str, arguments)])


@pytest.mark.parametrize("data", ["reference.npz", "salts.extxyz"])
def test_map_of_candidates(folder: Path, tmp_path: Path, data: str) -> None:
    path = tmp_path / "map.png"
    result = ood(
        "map", folder / data, "--candidates", folder / "candidates.db", "-o", path
    )
    assert result.exit_code == 3
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "3: " in result.stderr
    assert f"wrote a map of 35 points to {path}" in result.stderr
    assert "1 structure failed" in result.stderr


def test_map_states_what_it_shows(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    path = tmp_path / "map.html"
    options = ["--perplexity", 4, "--seed", 5, "--alpha", 0.1]
    result = ood("map", folder / "reference.npz", "-o", path, *options)
    assert result.exit_code == 0
    text = path.read_text(encoding="utf-8")
    for part in (
        "reference.npz (30)", "perplexity 4, seed 5", "alpha 0.1", "salt-29",
        "element table 'current'",
    ):  # fmt: skip
        assert part in html.unescape(text)
    pca = ood("map", folder / "reference.npz", "-o", path, "--method", "pca")
    assert pca.exit_code == 0
    assert "PCA, fitted to the reference set" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--perplexity", "--seed"])
def test_pca_has_no_settings_of_tsne(folder: Path, tmp_path: Path, option: str) -> None:
    path = tmp_path / "map.png"
    line = ["map", folder / "reference.npz", "-o", path, "--method", "pca"]
    result = ood(*line, option, "30")
    assert result.exit_code == 2
    assert f"{option}: of t-SNE, not of --method pca" in result.stderr
    assert ood(*line).exit_code == 0
