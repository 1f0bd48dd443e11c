"""``mftscreen study``."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.options import LocalPath, jobs_option

if TYPE_CHECKING:
    from mftscreen.study.plan import Job

__all__ = ["command"]


@click.group("study")
def command() -> None:
    """Train a grid of models and show their errors beside published ones.

    \b
    Example:
      mftscreen recipes copy paper/table_4/smoke table_4
      mftscreen study run table_4/smoke.yaml -o runs/table_4
      mftscreen study show runs/table_4
    """


def _shard(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int, int]:
    if text is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        msg = f"{text!r} is not I/N with I from 1 to N"
        raise click.BadParameter(msg, ctx, param)
    return number, count


@command.command("run")
@click.argument("study", type=LocalPath(dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=LocalPath(file_okay=False),
    default=None,
    help="Folder of the study.  [default: beside STUDY, named after it]",
)
@jobs_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="CPU threads of each process.  [default: all cores, shared out]",
)
@click.option(
    "--shard",
    metavar="I/N",
    callback=_shard,
    help="Do the I-th of N parts of the jobs, I from 1: for arrays of Slurm.",
)
@click.option("--dry-run", is_flag=True, help="List the jobs; do none of them.")
def run_command(
    study: Path,
    output: Path | None,
    jobs: int,
    threads: int | None,
    shard: tuple[int, int],
    dry_run: bool,
) -> None:
    """Train all models of STUDY (YAML): tasks, splits, folds, strategies, seeds ...

    Each training is a job with a folder of its own. The same command goes on where it
    was interrupted: jobs that are finished are not repeated, others go on from their
    last checkpoint. Jobs whose settings or data have changed are new ones. A job that
    fails is reported and does not stop the others; it is tried again by the next call.

    GPUs that are there are shared out among the processes of --jobs, one each. Parts of
    one study may run at the same time on several machines that share the folder; each
    takes its --shard, or gets from a job that another one is at to the next.

    \b
    Example:
      mftscreen study run table_4/mini.yaml -o runs/table_4 --dry-run
      mftscreen study run table_4/mini.yaml -o runs/table_4 -j 2
      sbatch --array=1-20 --gpus=1 --wrap 'mftscreen study run table_4/mini.yaml \\
          -o runs/table_4 --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT'
    """
    from mftscreen.study.config import load_study
    from mftscreen.study.plan import take_shard
    from mftscreen.study.run import plan_study, unfinished

    directory = output or study.parent / study.stem
    planned = plan_study(load_study(study), directory)
    chosen = take_shard(planned, *shard)
    waiting = unfinished(chosen, directory)
    n_done = len(chosen) - len(waiting)
    if dry_run:
        unfinished_jobs = {job.fingerprint for job in waiting}
        for job in chosen:
            state = "to do" if job.fingerprint in unfinished_jobs else "done "
            click.echo(f"{state}  {job.conditions}  {job.folder}")
        click.echo(f"{len(chosen)} jobs, {n_done} of them done", err=True)
        return
    if n_done:
        click.echo(f"{n_done} of {len(chosen)} jobs are done already", err=True)
    # a scheduler's or terminal's signal must end the trainers, too
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        n_failed = _run(waiting, directory, jobs, threads, n_done)
    except KeyboardInterrupt:
        click.echo("\nInterrupted. To continue: the same command", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(directory)
    if n_failed:
        click.echo(f"{n_failed} jobs failed; the same command tries again", err=True)
        raise click.exceptions.Exit(EXIT_FAILED_ROWS)


def _run(
    waiting: list[Job], directory: Path, jobs: int, threads: int | None, n_done: int
) -> int:
    """Do jobs, print a line for each, and return how many failed."""
    from mftscreen.study.run import run_jobs

    n_failed, n_all = 0, n_done + len(waiting)
    ended = run_jobs(waiting, directory, n_jobs=jobs, threads=threads)
    for number, (job, outcome) in enumerate(ended, n_done + 1):
        n_failed += outcome.failed
        said = f"FAILED: {outcome.text}" if outcome.failed else outcome.text
        click.echo(f"{number}/{n_all}  {job.conditions}: {said}", err=True)
    return n_failed
