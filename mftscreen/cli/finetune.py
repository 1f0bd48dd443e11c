"""``mftscreen finetune``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli import EXIT_INTERRUPTED
from mftscreen.cli.shared.checks import check_folder, check_not_empty
from mftscreen.cli.shared.commands import Choice, Command
from mftscreen.cli.shared.options import LocalPath, quiet_option
from mftscreen.cli.shared.standard_output import standard_output
from mftscreen.cli.shared.training_tables import show_comparison, show_training
from mftscreen.finetune.strategies import COMPARABLE
from mftscreen.suggestions import did_you_mean

if TYPE_CHECKING:
    from mftscreen.errors import DataError

__all__ = ["command"]


def _listed(ctx: click.Context, param: click.Parameter, text: str | None) -> list[str]:
    if text is None:
        return []
    names = list(dict.fromkeys(map(str.strip, text.split(","))))
    for name in names:
        if name not in COMPARABLE:
            msg = f"{name!r} is not one of {', '.join(COMPARABLE)}"
            msg += did_you_mean(name, known=COMPARABLE)
            raise click.BadParameter(msg, ctx, param)
    return names


@click.command("finetune", cls=Command)
@click.argument("config", type=LocalPath(dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=LocalPath(file_okay=False),
    default=None,
    help="Run directory.  [default: beside CONFIG, named after it]",
)
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="CPU threads for training.  [default: all cores]",
)
@click.option(
    "--strategy",
    type=Choice([*COMPARABLE, "auto"]),
    help="Instead of the one in CONFIG, which is mft or auto; auto: compare, then "
    "train on all rows the one with the smallest OOD error, or one that is level with "
    "it and leaves a force field in the model.",
)
@click.option(
    "--compare",
    "strategies",
    metavar="LIST",
    callback=_listed,
    help=f"Train each of these strategies on the same folds: {','.join(COMPARABLE)}.",
)
@click.option(
    "--split",
    metavar="METHOD|FILE",
    callback=check_not_empty,
    help="Folds to compare on: a method of 'mftscreen split', or what it wrote.  "
    "[default: that of CONFIG]",
)
@click.option(
    "--folds",
    metavar="K|NAME,NAME",
    callback=check_not_empty,
    help="The K folds with the most test rows, or these; '49,' is the one of that "
    "name.  [default: that of CONFIG, or all]",
)
@click.option(
    "--no-collapse-report",
    "collapse_report",
    flag_value=False,
    default=True,
    help="Do not compare the model with the pretrained one in the end.",
)
@quiet_option
def command(
    config: Path,
    output: Path | None,
    resume: bool,
    threads: int | None,
    strategy: str | None,
    strategies: list[str],
    split: str | None,
    folds: str | None,
    collapse_report: bool,
    quiet: bool,
) -> None:
    """Train the model that CONFIG (YAML) describes and write it as model.mft.

    The strategy is one of scratch, ft, lp and mft (arXiv:2601.08486), kernel, or
    pretrain for a force field. Training runs in deepmd-kit's own trainer; the
    checkpoint with the smallest error on the validation set becomes the model. Ctrl-C
    leaves a run that --resume continues.

    kernel trains no network: it fits support vectors (loss: mse: ridge regression) to
    the pretrained descriptor, in minutes, with settings chosen by cross-validation on
    the training rows; there is no collapse to report. readout: kernel, or best, in the
    configuration of another strategy does the same to the network that was trained.

    In the end, the model is compared with the pretrained one (collapse.html and
    collapse.json; about a minute for a small model): how far descriptors of training
    and test atoms have moved, and whether kinds of atoms are still kept apart. scratch
    and pretrain, which start from random weights, have no such report, save that
    --compare makes one of scratch, too. 'mftscreen diagnose' measures the same on more
    atoms.

    --compare derives the other strategies' settings from an mft CONFIG, trains each of
    them on every fold, and prints mean and spread of the errors in and out of
    distribution; compare.json and compare.csv have all numbers. The folds are those of
    the split that CONFIG names, or of --split. The same command goes on where it was
    interrupted. --strategy auto, or an mft CONFIG that says strategy: auto, goes on to
    train one on all rows, which --strategy below says.

    \b
    Example:
      mftscreen finetune my/config.yaml -o runs/mft
      mftscreen finetune my/config.yaml -o runs/mft --resume
      mftscreen finetune my/config.yaml --strategy ft -o runs/ft
      mftscreen finetune my/config.yaml --strategy kernel -o runs/kernel
      mftscreen finetune my/config.yaml --compare kernel,ft,lp,mft --folds 3 \\
          -o runs/compare
    """
    from mftscreen.finetune.compare.choice import say_choice
    from mftscreen.finetune.config.read import load_config
    from mftscreen.finetune.tune import (
        chosen_config,
        compare,
        default_output,
        finetune,
    )

    settings: Any = load_config(config)
    if strategy is None and settings.compares_first:
        strategy = "auto"
    comparing = bool(strategies) or strategy == "auto"
    _check_usage(comparing, strategy, strategies, split or folds)
    # a scheduler's or terminal's signal must end the trainer, too
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    directory = output or default_output(config, settings)
    check_folder(directory, config)
    options: dict[str, Any] = {
        "threads": threads,
        "progress": not quiet,
        "collapse_report": collapse_report,
    }
    # of a comparison, the same command does anyway
    again = "the same command" + " with --resume" * (not (comparing or resume))
    problems: list[DataError] = []
    try:
        if comparing:
            comparison = compare(
                settings,
                directory,
                strategies=strategies,
                split=split,
                folds=folds,
                **options,
            )
            if strategy != "auto":
                show_comparison(comparison)
                return
            with standard_output(problems):  # training goes on also without a reader
                show_comparison(comparison)
                click.echo(say_choice(comparison))
            settings, strategy = chosen_config(settings, comparison), None
            directory, resume = directory / "best", True
        path = finetune(
            settings, directory, strategy=strategy, resume=resume, **options
        ).path
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. To continue: {again}", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
    show_training(path, with_collapse=collapse_report)
    click.echo(path)
    if problems:
        raise problems[0]


def _check_usage(
    comparing: bool, strategy: str | None, compare: list[str], on: str | None
) -> None:
    if on and not comparing:
        msg = "--split and --folds are for --compare and --strategy auto"
        raise click.UsageError(msg)
    if compare and strategy not in (None, "auto"):
        msg = f"--compare trains several strategies, --strategy {strategy} one"
        raise click.UsageError(msg)
