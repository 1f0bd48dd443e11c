"""What README and documentation show runs and is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import registered_models

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
GROUPS = ("data", "models", "ood", "recipes", "results", "study")


def _blocks(language: str = "") -> list[tuple[str, str]]:
    """Return every block of code, with the page that it is on."""
    pattern = re.compile(
        rf"^```{language or '.*?'}\n(.*?)^```", re.DOTALL | re.MULTILINE
    )
    return [
        (page, block) for page, text in PAGES.items() for block in pattern.findall(text)
    ]


def _commands() -> list[tuple[str, str]]:
    """Return every line that is a command, with the page that it is on."""
    return [
        (page, line)
        for page, block in _blocks()
        for line in dict.fromkeys(block.replace("\\\n", " ").splitlines())
        if line.startswith("mftscreen ")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), _blocks("python"))
def test_python_blocks_run(
    page: str, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {"__name__": "page"})


@pytest.mark.parametrize(("page", "line"), _commands())
def test_command_lines_parse(page: str, line: str) -> None:
    words = line.split("#")[0].split("|")[0].split()[1:]
    path = words[: 2 if words[0] in GROUPS else 1]
    assert CliRunner().invoke(main, [*path, "--help"]).exit_code == 0
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    known = CliRunner().invoke(main, [*path, "--help"]).output
    assert all(re.search(rf"(?<![\w-]){re.escape(o)}\b", known) for o in options)


def test_table_of_models_matches_the_cards() -> None:
    text = PAGES["docs/measured.md"]
    for name, model in registered_models().items():
        card = read_bundle(model.path).card
        assert f"`{name}`" in text
        for head in card.properties.values():
            for test, metrics in head.metrics.items():
                if test != "validation":
                    assert f"{metrics['mae']:.3g}" in text
