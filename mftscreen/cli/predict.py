"""``mftscreen predict``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mftscreen.cli import EXIT_FAILED_ROWS
from mftscreen.cli.shared.commands import Command
from mftscreen.cli.shared.completion import complete_models, complete_properties
from mftscreen.cli.shared.options import (
    LocalPath,
    anyway_option,
    device_option,
    output_option,
    quiet_option,
)
from mftscreen.cli.shared.standard_output import from_elsewhere, standard_output
from mftscreen.cli.shared.summary import counted, say_predicted, say_written

if TYPE_CHECKING:
    from ase import Atoms

    from mftscreen.errors import DataError, MftscreenError
    from mftscreen.model.loaded_model import LoadedModel
    from mftscreen.model.network.backend import Device
    from mftscreen.screen.result.columns import Column
    from mftscreen.screen.result.rows import ScreenRow
    from mftscreen.screen.result.store import Record

__all__ = ["command"]


@click.command("predict", cls=Command)
@click.argument("files", nargs=-1, required=True, type=LocalPath(), metavar="FILE...")
@click.option(
    "-p",
    "--property",
    "names",
    multiple=True,
    shell_complete=complete_properties,
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
    shell_complete=complete_models,
    help="Name of a model (see 'mftscreen models list'), .mft or .pt file, or folder "
    "of a training.  [default: mft-mini]",
)
@anyway_option
@click.option("--json", "as_json", is_flag=True, help="JSON, a line each, not CSV.")
@output_option
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
    anyway: bool,
    as_json: bool,
    output: Path | None,
    device: Device,
    quiet: bool,
) -> None:
    """Predict properties of structure FILEs; CSV on standard output.

    Any format that 'mftscreen rank' reads (CIF, POSCAR, extxyz, ase.db, JSON, ...);
    every structure of a file with several gets a row, with the id that 'mftscreen
    rank' gives it. A folder or CSV is read, too. A large pretrained model is
    downloaded when it is first used, and predicts energies only.

    Each value has a unit and, where it is known how wrong such values are, an interval
    of 90 % (low, high). ood says whether the structure is unlike what the model has
    learned from, reason why. A property that the model was not made for, as that of a
    crystal for a molecule, has no value but a reason. Exit code 3 if a structure has
    nothing of what was asked for.

    \b
    Example:
      mftscreen predict POSCAR relaxed.cif -p dielectric
      mftscreen predict molecules.sdf -p gap -p homo -o gaps.csv
    """
    from mftscreen.errors import DataError
    from mftscreen.model.files.registry import check_fine_tuned
    from mftscreen.model.loading import load_model
    from mftscreen.properties import choose_properties
    from mftscreen.screen.candidates.folders import is_glob
    from mftscreen.screen.result.store import check_output

    for path in files:
        if not (is_glob(path) or path.exists()):
            msg = "no such file"
            raise DataError(msg, path=path)
    if as_json and output is not None:
        msg = "--json is for standard output; -o FILE.jsonl writes JSON"
        raise click.UsageError(msg, ctx)
    energy = energy or energy_head is not None
    if model is not None and not energy:
        check_fine_tuned(model)
    if output is not None:
        check_output(output, *files)
    loaded = load_model(
        model,
        properties=names,
        energy_head=energy_head,
        check_domain=not anyway,
        device=device,
        progress=not quiet,
    )
    known = loaded.properties
    properties = choose_properties(names or known, known, energy=loaded.has_energy)
    table = _Table(files, loaded, properties, energy)
    problems = _write(table, output, as_json=as_json, quiet=quiet)
    table.say_counts()
    outside = "outside_domain" in table.failed
    if outside and not names and (others := _others(model, loaded)):
        click.echo(others, err=True)
    if problems:
        raise problems[0]
    if table.failed:
        ctx.exit(EXIT_FAILED_ROWS)


@dataclass
class _Table:
    """What a model says of the structures of files, counted as it is read."""

    files: Sequence[Path]
    loaded: LoadedModel
    properties: Sequence[str]
    with_energy: bool
    statuses: Counter[str] = field(default_factory=Counter)
    trust: Counter[str] = field(default_factory=Counter)

    @cached_property
    def _columns(self) -> list[Column]:
        known = self.loaded.properties
        return _columns({name: known[name].unit for name in self.properties})

    @property
    def header(self) -> list[str]:
        return list(_record("", None, None, self._columns, self.with_energy))

    @property
    def failed(self) -> Counter[str]:
        """How many structures have nothing of what was asked for, by status."""
        return Counter({name: n for name, n in self.statuses.items() if name != "ok"})

    def records(self) -> Iterator[Record]:
        """Yield the rows of the table, with their structures."""
        from mftscreen.screen.candidates.stream import Candidate
        from mftscreen.screen.predictions import predict_rows
        from mftscreen.writing import as_utf8

        places: list[str] = []

        def candidates() -> Iterator[Candidate]:
            for path in self.files:
                for number, (name, structure) in enumerate(_structures(path)):
                    place = as_utf8(path)
                    places.append(f"{place}#{number}" if number else place)
                    yield Candidate(name, structure)

        rows = predict_rows(
            candidates(), self.loaded, self.properties, energy=self.with_energy
        )
        for number, (row, value) in enumerate(rows):
            self.statuses[row.status] += 1
            self.trust[row.trust] += 1
            record = _record(
                places[number], row, value, self._columns, self.with_energy
            )
            yield record, row.atoms

    def say_counts(self) -> None:
        """Tell how many were predicted, and of what little was learned."""
        from mftscreen.screen.result.uncertainty import say_weak

        failed = self.failed
        click.echo(
            f"{self.statuses.total()} structures: "
            f"{say_predicted(self.statuses['ok'], self.trust)}, {failed.total()} failed"
            + "".join(f", {status}: {n}" for status, n in failed.items()),
            err=True,
        )
        for name in self.properties:
            if weak := say_weak(name, self.loaded.card.properties[name].n_train):
                click.echo(weak, err=True)


def _write(
    table: _Table, output: Path | None, *, as_json: bool, quiet: bool
) -> list[DataError]:
    """Write a table to a file or standard output; return what stopped the latter."""
    from mftscreen.screen.result.columns import IDS
    from mftscreen.screen.result.store import write_csv, write_jsonl, write_records

    problems: list[DataError] = []
    if output is not None:
        write_records(output, table.header, table.records(), {*IDS, "file"})
        say_written(counted(table.statuses.total(), "row"), output, quiet=quiet)
        return problems
    with standard_output(problems) as stream:
        if as_json:
            write_jsonl(stream, from_elsewhere(table.records()))
        else:
            write_csv(stream, table.header, from_elsewhere(table.records()))
    return problems


def _columns(units: dict[str, str]) -> list[Column]:
    """Return the columns of results that a prediction by itself can fill."""
    from mftscreen.screen.result.columns import result_columns

    kept = {"id", "formula", "trust", "ood_p_value", "ood", "status", "reason"}
    kept.add("descriptor_p_value")
    for name in units:
        kept.add(name)
        kept |= {f"{name}_{k}" for k in ("unit", "error", "low", "high", "no_interval")}
    return [column for column in result_columns(units) if column.name in kept]


def _record(
    place: str,
    row: ScreenRow | None,
    energy: float | None,
    columns: Sequence[Column],
    with_energy: bool,
) -> dict[str, Any]:
    """Return a row of the table; without a row, its columns."""
    from mftscreen.screen.result.columns import Ranked

    record: dict[str, Any] = {"file": place}
    for column in columns:
        if column.name == "trust" and with_energy:
            record["energy"] = energy
        value = None if row is None else column.value(Ranked(None, None, row, ""))
        record[column.name] = value
    return record


def _others(model: str | None, loaded: LoadedModel) -> str:
    """Return what the other models of a collection predict; empty if there are none."""
    from mftscreen.model.files.bundle import read_bundle
    from mftscreen.model.files.registry import (
        DEFAULT_MODEL,
        find_members,
        registered_models,
    )

    texts = []
    for member in find_members(model or DEFAULT_MODEL):
        known = registered_models().get(str(member))
        if known is not None and known.sha256 != loaded.sha256:
            card = read_bundle(known.path).card
            texts.append(f"{card.name} predicts {', '.join(card.properties)}")
    return f"{'; '.join(texts)}: ask with -p" if texts else ""


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
