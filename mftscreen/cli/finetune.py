"""``mftscreen finetune``."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from mftscreen.cli.options import quiet_option

__all__ = ["command"]


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
@quiet_option
def command(
    config: Path, output: Path | None, resume: bool, threads: int | None, quiet: bool
) -> None:
    """Train the model that CONFIG (YAML) describes and write it as model.mft.

    The strategy is one of scratch, ft, lp and mft (arXiv:2601.08486), or pretrain for
    a force field. Training runs in deepmd-kit's own trainer; the checkpoint with the
    smallest error on the validation set becomes the model. Ctrl-C leaves a run that
    --resume continues.

    \b
    Example:
      mftscreen finetune recipes/mft-mini/mft.yaml -o runs/mft
      mftscreen finetune recipes/mft-mini/mft.yaml -o runs/mft --resume
    """
    from mftscreen.finetune.config import load_config
    from mftscreen.finetune.run import run_training

    # a scheduler's or terminal's signal must end the trainer, too
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    settings = load_config(config)
    directory = output or config.parent / config.stem
    try:
        path = run_training(
            settings, directory, resume=resume, threads=threads, progress=not quiet
        )
    except KeyboardInterrupt:
        click.echo(
            f"\nInterrupted. To continue: mftscreen finetune {config} -o {directory} "
            "--resume",
            err=True,
        )
        raise click.exceptions.Exit(130) from None
    click.echo(path)
