"""``mftscreen data``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.commands import Choice, Group
from mftscreen.cli.shared.completion import complete_data_sets
from mftscreen.cli.shared.options import LocalPath, label_kind_option, quiet_option
from mftscreen.cli.shared.summary import counted, say_written
from mftscreen.console.progress import progress_bar

if TYPE_CHECKING:
    from mftscreen.data.convert import DataFormat
    from mftscreen.data.dataset import LabelledStructure
    from mftscreen.data.describe import DataDescription, LabelSummary
    from mftscreen.data.findings import Finding

__all__ = ["command"]

_WIDTH = 40
_ROWS_SHOWN = 8
_FINDINGS_SHOWN = 5


@click.group("data", cls=Group)
def command() -> None:
    """Describe, convert and download labelled data.

    Data are extended XYZ, an ase.db, a trajectory, a CSV that names structure files
    (also CGCNN's id_prop.csv), pymatgen or OPTIMADE JSON, a MatBench .json.gz, or a
    folder with deepmd/npy systems.

    \b
    Example:
      mftscreen data describe labels.extxyz -p gap
    """


@command.command("describe")
@click.argument("files", nargs=-1, required=True, type=LocalPath(), metavar="FILE...")
@click.option("-p", "--property", "column", required=True, help="Name of the label.")
@label_kind_option
@click.option("--unit", default=None, help="Of the labels, e.g. eV.")
@click.option(
    "--against",
    type=LocalPath(),
    default=None,
    help="Test data: look for training structures in them.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
@quiet_option
@click.pass_context
def describe(
    ctx: click.Context,
    files: tuple[Path, ...],
    column: str,
    kind: str,
    unit: str | None,
    against: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Show what is in labelled FILEs and what is wrong with them.

    Problems: rows without a sound structure or a finite label; ids that stand twice;
    one structure with different labels, or in training and test data; files whose
    labels differ as two units do. Row ids are named; --json has all of them. Exit code
    3 if there are problems.

    \b
    Example:
      mftscreen data describe train.extxyz -p gap --unit eV --against test.extxyz
      mftscreen data describe id_prop.csv -p value --json
      mftscreen data describe labels.csv -p metal --kind class
    """
    from mftscreen.data.describe import describe_data
    from mftscreen.data.label_source import LabelSource

    label = LabelSource(column, (column,), yes_no=kind == "class")
    found = describe_data(files, label, unit=unit, against=against, progress=not quiet)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        # a file or an id may have a name that is no UTF-8
        text = "\n".join(_as_text(found)).encode(errors="backslashreplace")
        click.echo(text.decode())
    if found.problems:
        ctx.exit(EXIT_FAILED_ROWS)


def _as_text(found: DataDescription) -> Iterator[str]:
    for name, n in found.files.items():
        yield f"{name}: {n} rows"
    yield f"usable   {found.n_usable}, of {found.n_distinct} distinct structures"
    if found.labels is not None:
        unit = "" if found.unit is None else f" ({found.unit})"
        yield ""
        if found.kind == "class":
            yes = round(found.labels.mean * found.labels.n)
            yield f"{found.column}: {yes} yes, {found.labels.n - yes} no"
        else:
            yield from _label_lines(found.labels, f"{found.column}{unit}")
        yield ""
        sizes = ", ".join(f"{key} {value:g}" for key, value in found.n_atoms.items())
        kinds = ", ".join(f"{n} {kind}" for kind, n in found.periodic.items())
        yield f"atoms    {sizes}; periodic: {kinds}"
        elements = ", ".join(f"{symbol} {n}" for symbol, n in found.elements.items())
        yield from textwrap.wrap(
            f"elements {len(found.elements)}: {elements}", subsequent_indent=" " * 9
        )
    yield ""
    yield from _finding_lines("problems", found.problems)
    if found.remarks:
        yield from _finding_lines("remarks", found.remarks)


def _label_lines(labels: LabelSummary, title: str) -> Iterator[str]:
    yield (
        f"{title}: mean {labels.mean:.6g}, standard deviation "
        f"{labels.standard_deviation:.6g}"
    )
    names = {0.0: "min", 0.5: "median", 1.0: "max"}
    yield "  ".join(
        f"{names.get(q, f'{100 * q:g} %')} {value:.6g}"
        for q, value in labels.quantiles.items()
    )
    largest = max(labels.counts)
    last = len(labels.counts) - 1
    for k, count in enumerate(labels.counts):
        low = "" if k == 0 else f"{labels.edges[k]:.4g}"
        high = "" if k == last else f"{labels.edges[k + 1]:.4g}"
        bar = "#" * -(-_WIDTH * count // largest)
        yield f"{low:>10} .. {high:<10} {count:>8} {bar}"


def _finding_lines(title: str, findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        yield f"{title}: none"
        return
    yield f"{title}:"
    kinds = dict.fromkeys(finding.kind for finding in findings)
    for kind in kinds:
        same = [finding for finding in findings if finding.kind == kind]
        for finding in same[:_FINDINGS_SHOWN]:
            rows = ", ".join(finding.rows[:_ROWS_SHOWN])
            more = len(finding.rows) - _ROWS_SHOWN
            rows += f" and {more} more" if more > 0 else ""
            yield f"  {kind}: {finding.message}: {rows}"
        if len(same) > _FINDINGS_SHOWN:
            yield f"  {kind}: {len(same) - _FINDINGS_SHOWN} more like this"


@command.command("convert")
@click.argument("source", type=LocalPath(), metavar="IN")
@click.argument("target", type=LocalPath(), metavar="OUT")
@click.option(
    "-p",
    "--property",
    "column",
    default=None,
    help="Name of the label.  [default: energy, forces and stress]",
)
@click.option("--as", "name", default=None, help="Name of the label in OUT.")
@click.option(
    "--to",
    "data_format",
    type=Choice(["extxyz", "db", "npy", "csv"]),
    default=None,
    help="Format of OUT; npy (deepmd-kit) and csv (with structure files) are folders.  "
    "[default: by its name]",
)
@quiet_option
def convert(
    source: Path,
    target: Path,
    column: str | None,
    name: str | None,
    data_format: DataFormat | None,
    quiet: bool,
) -> None:
    """Write the labelled data IN as OUT, which must not exist.

    OUT is .extxyz, .xyz or .db, or a folder: with --to npy deepmd/npy mixed-type
    systems, with --to csv the table labels.csv and a CIF for each structure, or an
    .extxyz for those that are not periodic in all directions, such as molecules.
    Nothing is written if a row of IN has no structure or label.

    \b
    Example:
      mftscreen data convert matbench_dielectric.json.gz n.db -p n --as dielectric
      mftscreen data convert frames.extxyz frames_npy --to npy
    """
    from mftscreen.data.convert import find_format, write_labelled
    from mftscreen.data.dataset import ENERGY_LABELS

    if name is not None and column is None:
        msg = "--as renames the label of --property"
        raise click.UsageError(msg)
    labels = ENERGY_LABELS if column is None else (name or column,)
    n = write_labelled(
        _read(source, column, name, quiet),
        target,
        data_format or find_format(target),
        labels,
    )
    say_written(counted(n, "row"), target, quiet=quiet)


def _read(
    source: Path, column: str | None, name: str | None, quiet: bool
) -> Iterator[LabelledStructure]:
    from mftscreen.data.convert import read_frames
    from mftscreen.data.dataset import LabelledStructure
    from mftscreen.data.sources import read_labelled

    if column is None:
        rows = read_frames(source)
    else:
        rows = (
            LabelledStructure(row.id, row.atoms, {name or column: row.labels[column]})
            for row in read_labelled(source, column)
        )
    yield from progress_bar(rows, shown=not quiet, unit="row")


@command.command("download")
@click.argument("name", shell_complete=complete_data_sets)
@click.option(
    "-o",
    "--output",
    "folder",
    type=LocalPath(file_okay=False),
    default=Path(),
    help="Folder to write to.  [default: this one]",
)
@quiet_option
def download(name: str, folder: Path, quiet: bool) -> None:
    """Find or download the data set NAME and print the path of its file.

    NAME is a MatBench task with structures (matbench_dielectric, _jdft2d, _log_gvrh,
    _log_kvrh, _mp_e_form, _mp_gap, _mp_is_metal, _perovskites, _phonons) or qm9. The
    folder that the environment variable MFTSCREEN_DATA names is searched first, and
    what is there is linked to. What is downloaded is checked by its checksum.

    \b
    Example:
      mftscreen data download matbench_dielectric -o data
      mftscreen data download qm9
    """
    from mftscreen.data.public_sets import download_dataset

    found = download_dataset(name, folder, progress=not quiet)
    if not quiet:
        click.echo(f"{name}: {found.remark}", err=True)
    click.echo(found.path)
