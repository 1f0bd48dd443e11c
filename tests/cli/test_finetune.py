from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import click
import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.errors import ConfigError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.strategies import (
    COMPARABLE,
    AutoConfig,
)

MFT = """\
strategy: mft
name: shear
properties: {log_gvrh: {label: shear modulus, unit: log10(GPa)}}
data: {train: [rows.extxyz], test: {more: more.extxyz}}
pretrained: mft-mini
auxiliary: {head: crystals, data: [frames.extxyz], aux_prob: 0.3, lambda_reg: 0.02}
training: {steps: 4000, save_every: 250, batch_size: 96, seed: 5, layer_decay: 0.8}
"""


FT = """\
strategy: ft
name: shear
properties: {log_gvrh: {label: shear modulus}}
data: {train: [rows.extxyz]}
pretrained: mft-mini
training: {steps: 10}
"""


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["finetune", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_auto_in_the_configuration_is_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "mft.yaml"
    path.write_text(MFT)
    mft = load_config(path)
    path = tmp_path / "auto.yaml"
    path.write_text(MFT.replace("strategy: mft", "strategy: auto"))
    auto = load_config(path)
    assert isinstance(auto, AutoConfig)
    for strategy in ("ft", "mft"):
        assert derive_config(auto, strategy) == derive_config(mft, strategy)
    for options in ([], ["--strategy", "auto"], ["--compare", "ft"]):
        code, _, errors = run(path, *options)
        assert code == 1
        assert "a comparison needs a split; or give --split" in errors
    # a strategy that is given is trained alone
    code, _, errors = run(path, "--strategy", "ft", "--folds", "2")
    assert code == 2
    assert "--split and --folds are for --compare" in " ".join(errors.split())
    with pytest.raises(ConfigError, match="auto is for 'mftscreen finetune'"):
        run_training(auto, tmp_path / "run")


def test_another_strategy_needs_the_settings_of_mft(tmp_path: Path) -> None:
    path = tmp_path / "ft.yaml"
    path.write_text(FT)
    for options in (["--strategy", "lp"], ["--compare", "ft", "--split", "random"]):
        code, _, errors = run(path, *options)
        assert code == 1
        assert "other strategies are derived from mft, not from ft" in errors


def test_heads_that_know_the_rows_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "mft.yaml"
    path.write_text(MFT + "transfer_properties: true\n")
    code, _, errors = run(path, "--compare", "mft", "--split", "random")
    assert code == 1
    assert "nothing can be compared" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare", "ft,best"], "'best' is not one of scratch, kernel, ft, lp, mft"),
        (["--compare", "ft, best"], "'best' is not one of"),
        (["--folds", "2"], "are for --compare"),
        (["--compare", "ft", "--strategy", "lp"], "--strategy lp one"),
        (["--compare", ""], "'' is not one of scratch"),
        (["--compare", "ft", "--split", ""], "'--split': an empty text"),
        (["--compare", "ft", "--folds", " "], "'--folds': an empty text"),
        (["--output", ""], "an empty path"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MFT)
    code, _, errors = run(path, *options)
    assert code == 2
    assert message in " ".join(errors.split())


def test_a_folder_is_not_in_the_place_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(MFT)
    code, _, errors = run(path)
    assert code == 2
    assert "has no ending to leave out: name another folder with -o" in errors
    assert path.read_text() == MFT


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (["--strategy", "ft"], "the same command with --resume"),
        (["--resume"], "the same command"),
        (["--compare", "ft"], "the same command"),
        (["--strategy", "auto"], "the same command"),
    ],
)
def test_how_to_go_on_is_said(
    options: list[str], again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "config.yaml"
    path.write_text(MFT)
    for name in ("compare", "finetune"):
        monkeypatch.setattr(f"mftscreen.finetune.tune.{name}", interrupt)
    # those of the tests stay
    monkeypatch.setattr("signal.signal", lambda *_: None)
    code, _, errors = run(path, *options)
    assert code == 130
    assert errors.endswith(f"Interrupted. To continue: {again}\n")


def test_the_chosen_strategy_is_trained_though_nobody_reads_why(
    unread: TextIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train(_: object, directory: Path, **__: object) -> SimpleNamespace:
        trained.append(directory)
        return SimpleNamespace(path=directory / "model.mft")

    path = tmp_path / "config.yaml"
    path.write_text(MFT)
    tune, command = "mftscreen.finetune.tune", "mftscreen.cli.finetune"
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(f"{tune}.compare", lambda *_, **__: None)
    monkeypatch.setattr(f"{tune}.chosen_config", lambda *_: None)
    monkeypatch.setattr(f"{tune}.finetune", train)
    monkeypatch.setattr(f"{command}.show_comparison", lambda _: click.echo("a table"))
    monkeypatch.setattr(f"{command}.show_training", lambda *_, **__: None)
    monkeypatch.setattr("sys.stdout", unread)
    with pytest.raises(SystemExit) as ended:
        main(["finetune", str(path), "--strategy", "auto"])
    assert ended.value.code == 0
    assert trained == [tmp_path / "config" / "best"]


def test_the_command_knows_all_strategies() -> None:
    command = main.get_command(click.Context(main), "finetune")
    assert command is not None
    options = {option.name: option for option in command.params}
    assert list(options["strategy"].type.choices) == [*COMPARABLE, "auto"]
    assert options["strategies"].help.endswith(f": {','.join(COMPARABLE)}.")
