"""What the README shows runs and is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import registered_models

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_python_blocks_run(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize(
    "line",
    sorted(set(re.findall(r"^(?:\$ )?(mftscreen [a-z].*)$", TEXT, re.MULTILINE))),
)
def test_command_lines_parse(line: str) -> None:
    words = line.split("#")[0].split("|")[0].split()[1:]
    groups = ("data", "models", "ood", "recipes", "results")
    path = words[: 2 if words[0] in groups else 1]
    assert CliRunner().invoke(main, [*path, "--help"]).exit_code == 0
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    known = CliRunner().invoke(main, [*path, "--help"]).output
    assert all(re.search(rf"(?<![\w-]){re.escape(o)}\b", known) for o in options)


def test_table_of_models_matches_the_cards() -> None:
    for name, model in registered_models().items():
        card = read_bundle(model.path).card
        assert f"`{name}`" in TEXT
        for head in card.properties.values():
            for test, metrics in head.metrics.items():
                if test != "validation":
                    assert f"{metrics['mae']:.3g}" in TEXT
