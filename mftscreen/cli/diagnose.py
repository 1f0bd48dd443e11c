"""``mftscreen diagnose``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.options import SEED, LocalPath, device_option, quiet_option
from mftscreen.console.text_table import text_table

if TYPE_CHECKING:
    from mftscreen.model.network.backend import Device

__all__ = ["command"]


def _data_sets(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Return the files of ``NAME=FILE`` arguments by name."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not (name and equals and file):
            msg = f"{value!r} is not NAME=FILE, such as ood=test.extxyz"
            raise click.BadParameter(msg, ctx, param)
        if name in found:
            msg = f"{name!r} names two data sets"
            raise click.BadParameter(msg, ctx, param)
        found[name] = file
    return found


@click.command("diagnose")
@click.argument("model")
@click.option(
    "--against",
    "pretrained",
    required=True,
    metavar="PRETRAINED",
    help="The model that MODEL was fine-tuned from.",
)
@click.option(
    "--data",
    multiple=True,
    required=True,
    callback=_data_sets,
    metavar="NAME=FILE",
    help="Structures, such as train=train.extxyz; may be repeated.",
)
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
    default=2000,
    show_default=True,
    help="Atoms of each environment, and edges of each kind, for the clusters.",
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
    model: str,
    pretrained: str,
    data: dict[str, str],
    output: Path | None,
    json_path: Path | None,
    n_atoms: int,
    n_samples: int,
    n_environments: int,
    pairs: tuple[str, ...],
    seed: int,
    device: Device,
    quiet: bool,
) -> None:
    """Measure what fine-tuning did to the representations of MODEL.

    Prints how far the atomic descriptors of each data set have moved (1-Wasserstein
    distance) and how well kinds of atoms and edges are still kept apart
    (Davies-Bouldin index, relative to the pretrained model). With -o, a report shows
    t-SNE plots of both models, too. Models are names, .mft or .pt files.

    t-SNE takes most of the time, some ten minutes for each data set on a CPU core; in
    proportion less with smaller --n-samples. A Wasserstein distance of 5,000 atoms
    takes seconds and 1.6 GB of memory.

    \b
    Example:
      mftscreen diagnose my.mft --against pretrained.mft --data train=train.extxyz \\
          --data id=id.extxyz --data ood=ood.extxyz -o drift.html --json drift.json
    """
    from mftscreen.diagnostics.pages import drift_table, left_out, separation_table
    from mftscreen.jobs.diagnose import diagnose

    if output is None and not quiet:
        click.echo("Numbers only; -o FILE.html writes t-SNE plots, too", err=True)
    found = diagnose(
        model,
        pretrained,
        data,
        output=output,
        json=json_path,
        n_atoms=n_atoms,
        n_samples=n_samples,
        n_environments=n_environments,
        pairs=pairs,
        seed=seed,
        device=device,
        progress=not quiet,
        command=_command_line(),
    )
    for name, reason in found.failures.items():
        click.echo(f"{name}: {reason}", err=True)
    click.echo(text_table(drift_table(found.diagnosis)), nl=False)
    click.echo()
    click.echo(text_table(separation_table(found.diagnosis)), nl=False)
    for what, why in left_out(found.diagnosis):
        click.echo(f"{what}: not compared: {why}", err=True)
    if found.failures:
        ctx.exit(EXIT_FAILED_ROWS)


def _command_line() -> str:
    return shlex.join(["mftscreen", *sys.argv[1:]])
