from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from mftscreen.cli import main
from mftscreen.finetune.config.recipes import find_recipes
from mftscreen.model.files.registry import FAMILIES, registered_models


def complete(line: str) -> tuple[list[str], bool]:
    """Return what the last word of a line may become, and whether it may be a file."""
    *words, last = shlex.split(line) if not line.endswith(" ") else [*line.split(), ""]
    items = ShellComplete(main, {}, "mftscreen", "_MFTSCREEN_COMPLETE").get_completions(
        words[1:], last
    )
    names = [item.value for item in items if item.type == "plain"]
    return names, any(item.type == "file" for item in items)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("mftscreen re", ["results", "report", "recipes"]),
        ("mftscreen mod", ["models"]),
        ("mftscreen models sh", ["show"]),
        ("mftscreen rank pool.db --pro", ["--property"]),
        ("mftscreen rank pool.db --by ", ["pareto", "desirability"]),
        ("mftscreen rank pool.db -p diel", ["dielectric"]),
        ("mftscreen rank pool.db -g hom", ["homo"]),
        ("mftscreen rank pool.db -m mft-mini-crystals -p ho", []),
        ("mftscreen predict pool.db --property ga", ["gap"]),
        ("mftscreen ood score pool.db -p log", ["log_gvrh"]),
        ("mftscreen finetune config.yaml --strategy k", ["kernel"]),
        ("mftscreen recipes show ", list(find_recipes())),
        ("mftscreen recipes copy mft/diel", ["mft/dielectric"]),
        ("mftscreen models download 7net", ["7net-0", "7net-l3i5"]),
        ("mftscreen data download qm", ["qm9"]),
        ("mftscreen explain unknown_", ["unknown_element"]),
    ],
)
def test_names_are_completed(line: str, names: list[str]) -> None:
    assert complete(line) == (names, False)


@pytest.mark.parametrize(
    "line",
    [
        "rank pool.db -m",
        "rank pool.db -m mft-mini --then",
        "predict pool.db --model",
        "ood score pool.db -m",
        "models show",
        "models export",
        "diagnose",
        "diagnose mft-mini --against",
    ],
)
def test_a_model_is_a_name_or_a_file(line: str) -> None:
    names = [*FAMILIES, *registered_models()]
    assert complete(f"mftscreen {line} mft-m") == (names, True)
    assert complete(f"mftscreen {line} runs/") == ([], True)


def test_properties_are_those_of_the_model_that_is_named(tiny_model: Path) -> None:
    assert complete(f"mftscreen rank pool.db -m {tiny_model} -p ") == (["gap"], False)
    assert complete("mftscreen rank pool.db -m none.mft -p ") == ([], False)


def test_commands_are_completed_without_importing_them() -> None:
    program = (
        "import sys; from click.shell_completion import ShellComplete\n"
        "from mftscreen.cli import main\n"
        "found = ShellComplete(main, {}, 'mftscreen', '').get_completions([], '')\n"
        "assert len(found) > 10\n"
        "sys.exit('mftscreen.cli.rank' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["mftscreen", "recipes", "show", "mft/diel"], ["mft/dielectric"]),
        (["mftscreen", "rank", "pool.db", "-m", "mft-mini-c"], ["mft-mini-crystals"]),
        (["mftscreen", "rank", "pool.db", "-m", "./po"], []),  # bash's own: files
    ],
)
def test_bash_completes(words: list[str], replies: list[str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    command = tmp_path / "mftscreen"
    command.write_text(f"#!{sys.executable}\nfrom mftscreen.cli import main\nmain()\n")
    command.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    # as the documentation says
    script = (
        'eval "$(_MFTSCREEN_COMPLETE=bash_source mftscreen)"\n'
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        "compopt() { echo files >&2; }\n"  # there is no command line here
        "_mftscreen_completion mftscreen\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == replies
    assert ("files" in done.stderr) == ("-m" in words)
