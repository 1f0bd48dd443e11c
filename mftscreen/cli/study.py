"""``mftscreen study``."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli import EXIT_FAILED_ROWS, EXIT_INTERRUPTED
from mftscreen.cli.shared.checks import check_folder
from mftscreen.cli.shared.commands import Choice, Group
from mftscreen.cli.shared.options import LocalPath, jobs_option, quiet_option
from mftscreen.cli.shared.standard_output import standard_output
from mftscreen.cli.shared.summary import counted, say_written
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import check_place, output_file

if TYPE_CHECKING:
    from mftscreen.errors import DataError
    from mftscreen.study.plan import Job
    from mftscreen.study.run import Study

__all__ = ["command"]

_CONDITIONS = (
    *("task", "split", "fold", "strategy", "backbone", "variant"),
    *("train_share", "train_seed", "seed"),
)
_FILE = LocalPath(dir_okay=False)


@click.group("study", cls=Group)
def command() -> None:
    """Train a grid of models and show their errors beside published ones.

    \b
    Example:
      mftscreen recipes copy paper/smoke/table_4 smoke
      (cd smoke; python make_data.py)
      mftscreen study run smoke/table_4.yaml -o runs/smoke
      mftscreen study show runs/smoke
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


def _conditions(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for text in texts:
        key, _, listed = map(str.strip, text.partition("="))
        values = [value.strip() for value in listed.split(",")]
        if key not in _CONDITIONS or not all(values):
            msg = f"{text!r} is not KEY=VALUE; keys are {', '.join(_CONDITIONS)}"
            msg += "" if key in _CONDITIONS else did_you_mean(key, known=_CONDITIONS)
            raise click.BadParameter(msg, ctx, param)
        wanted.setdefault(key, set()).add(listed)
    return wanted


_only_option = click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUE,...",
    callback=_conditions,
    help=f"Only these jobs. Keys: {', '.join(_CONDITIONS)}.",
)


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
@click.option(
    "--scheduler", metavar="tcp://…", help="Dask scheduler to use instead of processes."
)
@_only_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="List the jobs; do none of them. The folds are made, and kept in the folder.",
)
def run_command(
    study: Path,
    output: Path | None,
    jobs: int,
    threads: int | None,
    shard: tuple[int, int],
    scheduler: str | None,
    only: dict[str, set[str]],
    dry_run: bool,
) -> None:
    """Train all models of STUDY (YAML): tasks x splits x folds x strategies x seeds.

    Each training is a job with a folder of its own. The same command goes on where it
    was interrupted: jobs that are finished are not repeated, others go on from their
    last checkpoint. Jobs whose settings or data have changed are new ones, also where
    it is only a description or a licence in a task's configuration. A job that fails is
    reported and does not stop the others; it is tried again by the next call.

    GPUs that are there are shared out among the processes of --jobs, as many each as a
    training takes. Parts of one study may run at the same time on several machines that
    share the folder; each takes its --shard; a job that another one is at is left to
    it.

    \b
    Example:
      mftscreen study run table_4/table_4.yaml -o runs/table_4 --dry-run
      mftscreen study run table_4/table_4.yaml -o runs/table_4 -j 2
      mftscreen study run table_4/table_4.yaml -o runs/table_4 \\
          --only task=dielectric --only strategy=kernel,ft
      sbatch --array=1-20 --gpus=1 --wrap 'mftscreen study run table_4/table_4.yaml \\
          -o runs/table_4 --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT'
    """
    from mftscreen.study.config import load_study
    from mftscreen.study.plan import take_shard
    from mftscreen.study.run import plan_study, unfinished

    settings = load_study(study)
    directory = output or study.parent / study.stem
    check_folder(directory, study)
    planned = plan_study(settings, directory, only, write=not dry_run)
    chosen = take_shard(planned, *shard)
    waiting = unfinished(chosen, directory)
    n_done = len(chosen) - len(waiting)
    if dry_run:
        to_do = {job.folder for job in waiting}
        for job in chosen:
            state = "to do" if job.folder in to_do else "done "
            click.echo(f"{state}  {job.conditions}  {job.folder}")
        click.echo(f"{len(chosen)} jobs, {n_done} of them done", err=True)
        return
    if n_done:
        click.echo(f"{n_done} of {len(chosen)} jobs are done already", err=True)
    # a scheduler's or terminal's signal must end the trainers, too
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        options = {"n_jobs": jobs, "threads": threads, "scheduler": scheduler}
        n_failed = _run(waiting, directory, options, n_done)
    except KeyboardInterrupt:
        click.echo("\nInterrupted. To continue: the same command", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
    click.echo(directory)
    if n_failed:
        click.echo(f"{n_failed} jobs failed; the same command tries again", err=True)
        raise click.exceptions.Exit(EXIT_FAILED_ROWS)


def _run(
    waiting: list[Job], directory: Path, options: dict[str, Any], n_done: int
) -> int:
    """Do jobs, print a line for each, and return how many failed."""
    from mftscreen.study.run import run_jobs

    n_failed, n_all = 0, n_done + len(waiting)
    with closing(run_jobs(waiting, directory, **options)) as ended:
        for number, (job, outcome) in enumerate(ended, n_done + 1):
            n_failed += outcome.failed
            said = f"FAILED: {outcome.text}" if outcome.failed else outcome.text
            click.echo(f"{number}/{n_all}  {job.conditions}: {said}", err=True)
    return n_failed


@command.command("show")
@click.argument("directory", type=LocalPath(file_okay=False))
@_only_option
@click.option(
    "--common-folds", is_flag=True, help="Only folds that all lines of a table have."
)
@click.option(
    "--metric",
    type=Choice(["mae", "rmse"]),
    help="Of gains and figures.  [default: that of the published table, or mae]",
)
@click.option("--csv", type=_FILE, help="Write every number of every job.")
@click.option("--json", type=_FILE, help="Write means, results and what is missing.")
@click.option(
    "--plots", type=LocalPath(file_okay=False), help="Write figures (PNG) to a folder."
)
@click.option(
    "--collapse",
    type=LocalPath(file_okay=False),
    help="Write collapse reports (HTML) to a folder: the pretrained model and those "
    "fine-tuned from it, on one fold for each task, split, backbone, variant and "
    "training size; minutes each.",
)
@click.option(
    "--matbench",
    type=_FILE,
    metavar="FILE.json.gz",
    help="Write MatBench's record of its five folds; needs the package matbench.",
)
@quiet_option
def show(
    directory: Path,
    only: dict[str, set[str]],
    common_folds: bool,
    metric: str | None,
    csv: Path | None,
    json: Path | None,
    plots: Path | None,
    collapse: Path | None,
    matbench: Path | None,
    quiet: bool,
) -> None:
    """Print the errors of the study in DIRECTORY, so far as its jobs are finished.

    Means and standard deviations (n - 1) are over folds and seeds. Gains over scratch
    are paired: those of each fold, then their mean and standard deviation. A study that
    names a published table has its numbers beside. Tests of random folds are
    in-distribution (ID) ones.

    \b
    Example:
      mftscreen study show runs/table_4 --plots figures --csv table_4.csv
      mftscreen study show runs/table_4 --only split=loco --collapse figures
      mftscreen study show runs/table_4 --only strategy=kernel \\
          --matbench results.json.gz
    """
    from mftscreen.study.collapse import write_collapse
    from mftscreen.study.matbench_record import write_matbench_record
    from mftscreen.study.plots import write_plots
    from mftscreen.study.published import load_published
    from mftscreen.study.run import check_not_of_study, read_study
    from mftscreen.study.summary import METRICS, measurements, summarize
    from mftscreen.study.summary import common_folds as keep_common_folds
    from mftscreen.study.tables import to_csv, to_json, to_text

    for path in filter(None, (csv, json, matbench, plots, collapse)):
        check_not_of_study(path, directory)
    made = {plots, collapse}  # folders that are there in the end
    for path in filter(None, (csv, json, matbench)):
        if path.parent not in made:
            check_place(path)
    study = read_study(directory).only(only)
    published = None if study.published is None else load_published(study.published)
    found = measurements(study.results)
    if common_folds:
        some, found = found, keep_common_folds(found)
        if some and not found:
            click.echo("No fold is that of all lines: nothing is left.", err=True)
    summaries = summarize(found, published)
    if metric is None:
        own = "mae" if published is None else published.metric
        metric = own if own in METRICS else "mae"
    problems: list[DataError] = []
    with standard_output(problems):  # files are written also without a reader of it
        click.echo(to_text(summaries, published, metric), nl=False)
    if csv is not None:
        with output_file(csv) as partial:
            partial.write_text(to_csv(found), encoding="utf-8")
        say_written(counted(len(found), "row"), csv, quiet=quiet)
    if json is not None:
        with output_file(json) as partial:
            text = to_json(study, found, summaries, published)
            partial.write_text(text, encoding="utf-8")
        what = f"{counted(len(summaries), 'mean')} of {counted(len(found), 'result')}"
        say_written(what, json, quiet=quiet)
    if plots is not None:
        figures = write_plots(plots, found, summaries, metric)
        say_written(counted(len(figures), "figure"), plots, quiet=quiet)
    if collapse is not None:
        command = shlex.join(["mftscreen", *sys.argv[1:]])
        pages = write_collapse(study, collapse, command, progress=not quiet)
        for page in pages:
            say_written("collapse report", page, quiet=quiet)
    if matbench is not None:
        write_matbench_record(study, matbench)
        say_written("MatBench's record of five folds", matbench, quiet=quiet)
    _say_what_is_missing(study)
    if problems:
        raise problems[0]


def _say_what_is_missing(study: Study) -> None:
    n_missing, n_all = len(study.missing), len(study.missing) + len(study.results)
    if n_missing:
        click.echo(f"{n_missing} of {n_all} jobs are not finished", err=True)
    for conditions, why in study.failures.items():
        click.echo(f"{conditions} failed: {why}", err=True)
