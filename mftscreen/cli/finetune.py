"""``mftscreen finetune``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mftscreen.cli.options import quiet_option

if TYPE_CHECKING:
    from mftscreen.finetune.derive import DownstreamConfig, Strategy

__all__ = ["command"]

_STRATEGIES = ("scratch", "ft", "lp", "mft")


def _listed(ctx: click.Context, param: click.Parameter, text: str | None) -> list[str]:
    names = list(dict.fromkeys(text.split(","))) if text else []
    for name in names:
        if name not in _STRATEGIES:
            msg = f"{name!r} is not one of {', '.join(_STRATEGIES)}"
            raise click.BadParameter(msg, ctx, param)
    return names


@click.command("finetune")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
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
    type=click.Choice([*_STRATEGIES, "auto"]),
    help="Instead of the one in CONFIG, which is an mft one; auto: compare, then train "
    "the one with the smallest OOD error on all rows.",
)
@click.option(
    "--compare",
    metavar="LIST",
    callback=_listed,
    help="Train each of these strategies on the same folds: scratch,ft,lp,mft.",
)
@click.option(
    "--split",
    metavar="METHOD|FILE",
    help="Folds to compare on: a method of 'mftscreen split', or what it wrote.  "
    "[default: that of CONFIG]",
)
@click.option(
    "--folds",
    metavar="K|NAME,NAME",
    help="The first K folds, or these.  [default: that of CONFIG, or all]",
)
@quiet_option
def command(
    config: Path,
    output: Path | None,
    resume: bool,
    threads: int | None,
    strategy: str | None,
    compare: list[str],
    split: str | None,
    folds: str | None,
    quiet: bool,
) -> None:
    """Train the model that CONFIG (YAML) describes and write it as model.mft.

    The strategy is one of scratch, ft, lp and mft (arXiv:2601.08486), or pretrain for
    a force field. Training runs in deepmd-kit's own trainer; the checkpoint with the
    smallest error on the validation set becomes the model. Ctrl-C leaves a run that
    --resume continues.

    --compare derives the other strategies' settings from an mft CONFIG, trains each of
    them on every fold, and prints mean and spread of the errors in and out of
    distribution; compare.json and compare.csv have all numbers. The same command goes
    on where it was interrupted. --strategy auto goes on to train the best one.

    \b
    Example:
      mftscreen finetune my/config.yaml -o runs/mft
      mftscreen finetune my/config.yaml -o runs/mft --resume
      mftscreen finetune my/config.yaml --strategy ft -o runs/ft
      mftscreen finetune my/config.yaml --compare scratch,ft,lp,mft --split loco \\
          --folds 3 -o runs/compare
    """
    from mftscreen.finetune.config import load_config
    from mftscreen.finetune.derive import derive_config
    from mftscreen.finetune.run import run_training

    comparing = bool(compare) or strategy == "auto"
    _check_usage(comparing, strategy, compare, split or folds)
    # a scheduler's or terminal's signal must end the trainer, too
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    settings: Any = load_config(config)
    directory = output or config.parent / config.stem
    options: dict[str, Any] = {"threads": threads, "progress": not quiet}
    again = f"mftscreen finetune {config} -o {directory} --resume"
    try:
        if comparing:
            again = "the same command"
            best = _compare(settings, directory, compare, split, folds, options)
            if strategy != "auto":
                return
            settings, directory, resume = best, directory / "best", True
        elif strategy is not None:
            settings = derive_config(settings, cast("Strategy", strategy))
            again += f" --strategy {strategy}"
        path = run_training(settings, directory, resume=resume, **options)
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. To continue: {again}", err=True)
        raise click.exceptions.Exit(130) from None
    _show_errors(path)
    click.echo(path)


def _check_usage(
    comparing: bool, strategy: str | None, compare: list[str], on: str | None
) -> None:
    if on and not comparing:
        msg = "--split and --folds are for --compare and --strategy auto"
        raise click.UsageError(msg)
    if compare and strategy not in (None, "auto"):
        msg = f"--compare trains several strategies, --strategy {strategy} one"
        raise click.UsageError(msg)


def _show_errors(path: Path) -> None:
    """Print the errors on a model's card, one line for each validation and test set."""
    from mftscreen.model.bundle import read_bundle

    columns = {"n": ".0f", "mae": ".4g", "rmse": ".4g", "r2": ".3f", "spearman": ".3f"}
    for name, head in read_bundle(path).card.properties.items():
        titles = "".join(f"{column:>10}" for column in columns)
        click.echo(f"{f'{name} ({head.spec.unit})':<24}{titles}")
        for part, metrics in head.metrics.items():
            cells = (
                f"{metrics[key]:{form}}" if key in metrics else ""
                for key, form in columns.items()
            )
            click.echo(f"{part:<24}" + "".join(f"{cell:>10}" for cell in cells))


def _compare(
    config: Any,
    directory: Path,
    strategies: list[str],
    split: str | None,
    folds: str | None,
    options: dict[str, Any],
) -> DownstreamConfig:
    """Print a comparison; return the best strategy's configuration for all rows."""
    from mftscreen.finetune.compare import compare_strategies
    from mftscreen.finetune.derive import derive_config
    from mftscreen.finetune.folds import choose_folds, prepare_split, without_split

    config = derive_config(config, "mft")  # raises unless it has all settings
    file = prepare_split(config, split, directory, progress=options["progress"])
    comparison = compare_strategies(
        config,
        directory,
        split=file,
        folds=choose_folds(file, folds, config),
        strategies=cast("list[Strategy]", strategies or _STRATEGIES),
        **options,
    )
    click.echo(comparison.to_table(), nl=False)
    click.echo(f"Smallest OOD error: {comparison.best}")
    return without_split(derive_config(config, cast("Strategy", comparison.best)))
