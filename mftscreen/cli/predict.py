"""``mftscreen predict``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.options import LocalPath, device_option, quiet_option

if TYPE_CHECKING:
    from ase import Atoms

    from mftscreen.errors import MftscreenError
    from mftscreen.model.network.backend import Device

__all__ = ["command"]


@click.command("predict")
@click.argument("files", nargs=-1, required=True, type=LocalPath(), metavar="FILE...")
@click.option(
    "-p",
    "--property",
    "names",
    multiple=True,
    help="Property to predict; may be repeated.  [default: all of the model; of "
    "mft-mini, of that for crystals]",
)
@click.option("--energy", is_flag=True, help="Also the energy, in eV.")
@click.option(
    "--energy-head",
    metavar="NAME",
    default=None,
    help="Energy by this head, where the model has several; of mft-mini or a DPA model "
    "also 'crystals' or 'molecules'.  [default: that of the model]",
)
@click.option(
    "-m",
    "--model",
    default=None,
    help="Name of a model (see 'mftscreen models list') or path of a .mft or .pt "
    "file.  [default: mft-mini]",
)
@device_option
@quiet_option
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    names: tuple[str, ...],
    energy: bool,
    energy_head: str | None,
    model: str | None,
    device: Device,
    quiet: bool,
) -> None:
    """Predict properties of structure FILEs; CSV on standard output.

    Any format that 'mftscreen rank' reads (CIF, POSCAR, extxyz, ase.db, JSON, ...);
    every structure of a file with several gets a row, with the id that 'mftscreen
    rank' gives it. A folder or CSV is read, too. Exit code 3 if some could not be
    evaluated. A large pretrained model is downloaded when it is first used, and
    predicts energies only.

    \b
    Example:
      mftscreen predict POSCAR relaxed.cif -p dielectric
    """
    from mftscreen.model.files.registry import check_fine_tuned
    from mftscreen.model.loading import load_model
    from mftscreen.predictor import Predictor
    from mftscreen.structures import reduced_formula

    energy = energy or energy_head is not None
    if model is not None and not energy:
        check_fine_tuned(model)
    predictor = Predictor(
        load_model(
            model,
            properties=names,
            energy_head=energy_head,
            device=device,
            progress=not quiet,
        ),
        properties=list(names) or None,
        energy=energy,
    )
    labels: list[tuple[str, str]] = []

    def structures() -> Iterator[Atoms | MftscreenError]:
        for path in files:
            for number, (name, structure) in enumerate(_structures(path)):
                labels.append((f"{path}#{number}" if number else str(path), name))
                yield structure

    values = [*predictor.properties, *(["energy"] if energy else [])]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "id", "formula", *values, "status", "reason"])
    failed = False
    for row in predictor(structures()):
        failed |= not row.ok
        found = {**row.properties, "energy": row.energy}
        table.writerow(
            [
                *labels[row.index],
                reduced_formula(row.atoms),
                *(found.get(name) for name in values),
                row.status,
                row.reason,
            ]
        )
    if failed:
        ctx.exit(EXIT_FAILED_ROWS)


def _structures(path: Path) -> Iterator[tuple[str, Atoms | MftscreenError]]:
    """Yield ids and structures, or the error that says why there are none."""
    from mftscreen.errors import DataError
    from mftscreen.screen.candidates.stream import iter_candidates

    found = False
    try:
        for candidate in iter_candidates(path):
            found = True
            yield candidate.id, candidate.structure
    except DataError as error:
        yield path.name, error
    else:
        if not found:
            yield path.name, DataError("holds no structure", path=path)
