"""``mftscreen diagnose``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.checks import check_pairs, checked
from mftscreen.cli.shared.commands import Command
from mftscreen.cli.shared.completion import complete_models
from mftscreen.cli.shared.options import SEED, LocalPath, device_option, quiet_option
from mftscreen.cli.shared.summary import counted, say_written
from mftscreen.console.text_table import text_table

if TYPE_CHECKING:
    from mftscreen.model.network.backend import Device

__all__ = ["command"]


def _named(values: Sequence[str], what: str) -> dict[str, str]:
    """Return the values of ``NAME=VALUE`` arguments by name."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not (name and equals and file):
            msg = f"{value!r} is not NAME=FILE, such as ood=test.extxyz"
            raise click.UsageError(msg)
        if name in found:
            msg = f"{name!r} names two {what}"
            raise click.UsageError(msg)
        found[name] = file
    return found


def _models(values: Sequence[str]) -> list[str] | dict[str, str]:
    """Return models, by name if one has been given a name."""
    from mftscreen.jobs.trained import name_models

    named = ["=" in value and not Path(value).exists() for value in values]
    if not any(named):
        return list(values)
    found: dict[str, str] = {}
    for value, is_named in zip(values, named, strict=True):
        own = {name_models(value)[0].name: value}
        pair = _named([value], "models") if is_named else own
        if twice := found.keys() & pair.keys():
            msg = f"{next(iter(twice))!r} names two models"
            raise click.UsageError(msg)
        found |= pair
    return found


def _data(values: Sequence[str], split: Path | None) -> dict[str, str] | str | None:
    """Return data sets by name, or the one that is divided by a split."""
    if split is None:
        return _named(values, "data sets") or None
    if len(values) != 1:
        msg = "--split divides the rows of one --data FILE"
        raise click.UsageError(msg)
    if "=" in values[0] and not Path(values[0]).exists():
        msg = f"with --split, --data is FILE, not NAME=FILE; got {values[0]!r}"
        raise click.UsageError(msg)
    return values[0]


@click.command("diagnose", cls=Command)
@click.argument(
    "models",
    metavar="MODEL...",
    nargs=-1,
    required=True,
    shell_complete=complete_models,
)
@click.option(
    "--against",
    "pretrained",
    metavar="PRETRAINED",
    shell_complete=complete_models,
    help="The model that MODEL was fine-tuned from.  [default: as the folder of its "
    "training says]",
)
@click.option(
    "--data",
    multiple=True,
    metavar="NAME=FILE",
    help="Structures, such as train=train.extxyz; may be repeated; the drift of others "
    "is compared with that of 'train'.  [default: what the folder of its training "
    "names]",
)
@click.option(
    "--split",
    type=LocalPath(exists=True, dir_okay=False),
    help="Divide the rows of --data FILE as 'mftscreen split' did.",
)
@click.option("--fold", help="By which fold of --split.")
@click.option(
    "-o",
    "--output",
    type=LocalPath(dir_okay=False),
    help="Write a report to FILE.html, or its plots to FILE.png.",
)
@click.option(
    "--json",
    "json_path",
    type=LocalPath(dir_okay=False),
    help="Write all numbers to FILE.json.",
)
@click.option(
    "--n-atoms",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="Atoms of each data set for the Wasserstein distance.",
)
@click.option(
    "--n-samples",
    type=click.IntRange(min=2),
    default=500,
    show_default=True,
    help="Atoms of each environment, and edges of each kind, for the clusters; 2000 as "
    "in the paper.",
)
@click.option(
    "--n-repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Samples, each with a t-SNE of its own.",
)
@click.option(
    "--n-environments",
    type=click.IntRange(min=2),
    default=12,
    show_default=True,
    help="Show the most frequent environments.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="A-B",
    callback=checked(check_pairs),
    help="Show edges from A to B, such as C-O; may be repeated.  [default: the two "
    "pairs that are bonded most often]",
)
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Of samples and t-SNE."
)
@device_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[str, ...],
    pretrained: str | None,
    data: tuple[str, ...],
    split: Path | None,
    fold: str | None,
    output: Path | None,
    json_path: Path | None,
    n_atoms: int,
    n_samples: int,
    n_repeats: int,
    n_environments: int,
    pairs: tuple[str, ...],
    seed: int,
    device: Device,
    quiet: bool,
) -> None:
    """Measure what fine-tuning did to the representations of each MODEL.

    Prints how far the atomic descriptors of each data set have moved (1-Wasserstein
    distance, of the same atoms and of independent draws) and how well kinds of atoms
    and edges are still kept apart (Davies-Bouldin index, relative to the pretrained
    model, mean and standard deviation over samples). With -o, a report shows t-SNE
    plots of the pretrained model and of each MODEL side by side. Models are names, .mft
    or .pt files, or folders of 'mftscreen finetune', which know their data and what
    they were trained from; NAME=MODEL gives one another name.

    t-SNE takes most of the time, some ten minutes for each data set and model on a CPU
    core; in proportion less with smaller --n-samples and --n-repeats. A Wasserstein
    distance of 5,000 atoms takes seconds and 1.6 GB of memory.

    \b
    Example:
      mftscreen diagnose runs/ft runs/mft -o drift.html
      mftscreen diagnose FT=ft.mft MFT=mft.mft --against pretrained.mft \\
          --data id=id.extxyz --data ood=ood.extxyz -o drift.html --json drift.json
      mftscreen diagnose my.mft --against pretrained.mft --data my.csv \\
          --split split.json --fold 3
    """
    from mftscreen.diagnostics.pages import (
        drift_table,
        findings,
        left_out,
        separation_table,
    )
    from mftscreen.jobs.diagnose import diagnose

    if (split is None) != (fold is None):
        msg = "--split and --fold are needed together"
        raise click.UsageError(msg, ctx)
    if output is None and not quiet:
        click.echo("Numbers only; -o FILE.html writes t-SNE plots, too", err=True)
    found = diagnose(
        _models(models),
        pretrained,
        _data(data, split),
        split=split,
        fold=fold,
        output=output,
        json=json_path,
        n_atoms=n_atoms,
        n_samples=n_samples,
        n_repeats=n_repeats,
        n_environments=n_environments,
        pairs=pairs,
        seed=seed,
        device=device,
        progress=not quiet,
        command=_command_line(),
    )
    models_of = counted(len(found.diagnosis.fine_tuned), "model")
    for path, what in ((output, "a report"), (json_path, "the numbers")):
        if path is not None:
            say_written(f"{what} of {models_of}", path, quiet=quiet)
    for name, reason in found.failures.items():
        click.echo(f"{name}: {reason}", err=True)
    click.echo(text_table(drift_table(found.diagnosis)), nl=False)
    click.echo()
    click.echo(text_table(separation_table(found.diagnosis)), nl=False)
    for sentence in ("", *findings(found.diagnosis)):
        click.echo(sentence)
    for what, why in left_out(found.diagnosis):
        click.echo(f"{what}: not compared: {why}", err=True)
    if found.failures:
        ctx.exit(EXIT_FAILED_ROWS)


def _command_line() -> str:
    return shlex.join(["mftscreen", *sys.argv[1:]])
