"""What a model says of its errors where candidates are unlike its training set.

    MFTSCREEN_DATA=... python benchmarks/shifts.py oxides

Fits a kernel to the descriptor of 7net-0 (``MFTRegressor``), which has seen none of
the labels, and predicts rows of another kind, as ``trust.py`` does, and prints its
table:

* ``own``: 161 rows of MatBench dielectric; 400 others of the same kind;
* ``oxides``: rows of dielectric with oxygen; those without;
* ``compounds``: rows of log_gvrh with a non-metal; intermetallic ones;
* ``size``: the gap of 3,000 molecules of QM9 with up to eight heavy atoms; 1,000 with
  nine, and 500 of the former kind;
* ``elements``: the same model; molecules of ASE's G2 set with S, P, Cl or Si, of which
  no gap is known: only how many are flagged.

Seed 0, before ``rank`` withheld intervals from screenings most of whose candidates are
flagged, as those without oxygen and the intermetallic ones now are: share without an
interval, in intervals of 90 %, Spearman of estimate and error, share flagged, and their
error over that of the others:

=============================  ====  ====  ====  ====  ====
own, 400 others                0.08  0.92  0.62  0.07  2.3
oxides, 300 of the same kind   0.08  0.93  0.51  0.08  2.0
oxides, 2,505 without O        0.74  0.76  0.64  0.74  2.5
compounds, 500 of the kind     0.06  0.89  0.36  0.06  2.0
compounds, 1,500 intermetallic 0.84  0.87  0.12  0.84  1.1
=============================  ====  ====  ====  ====  ====
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd
from ase import Atoms, units
from ase.build import molecule
from ase.collections import g2
from kernel_folds import COLUMNS
from trust import HEADER, Judged, predict, to_row

from mftscreen import MFTRegressor, load_model
from mftscreen.console.text_table import text_table
from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.sources import read_labelled

SEED, NAME = 0, "target"
NON_METALS = {"H", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "Te", "I"}
Rows = list[LabelledStructure]
Sets = tuple[Rows, dict[str, Rows]]


def matbench(task: str) -> Rows:
    """Return the rows of a task, in a random order, labelled."""
    column = COLUMNS[task]
    path = Path(os.environ["MFTSCREEN_DATA"]) / "matbench" / f"matbench_{task}.json.gz"
    rows = [
        LabelledStructure(row.id, row.atoms, {NAME: row.labels[column]})
        for row in read_labelled(path, column)
    ]
    order = np.random.default_rng(SEED).permutation(len(rows))
    return [rows[k] for k in order]


def own() -> Sets:
    rows = matbench("dielectric")
    return rows[:161], {"others": rows[161:561]}


def oxides() -> Sets:
    rows = matbench("dielectric")
    with_oxygen = [row for row in rows if "O" in row.atoms.symbols]
    without = [row for row in rows if "O" not in row.atoms.symbols]
    return with_oxygen[300:], {"the same kind": with_oxygen[:300], "no O": without}


def compounds() -> Sets:
    rows = matbench("log_gvrh")
    metallic = [row for row in rows if not NON_METALS & set(row.atoms.symbols)]
    others = [row for row in rows if NON_METALS & set(row.atoms.symbols)]
    return others[500:3500], {
        "the same kind": others[:500],
        "intermetallic": metallic[:1500],
    }


def size() -> Sets:
    folder = Path(os.environ["MFTSCREEN_DATA"]) / "qm9"
    gaps = pd.read_csv(folder / "qm9_props.csv.xz", index_col="gdb_id")["gap_Ha"]
    stored = dict(np.load(folder / "qm9_xyz.npz"))
    ends = np.cumsum(stored["n_atoms"].astype(int))
    small: Rows = []
    large: Rows = []
    for k in np.random.default_rng(SEED).permutation(len(ends)).tolist():
        own = slice(ends[k] - int(stored["n_atoms"][k]), ends[k])
        numbers = stored["z"][own]
        into, limit = (small, 3500) if (numbers > 1).sum() <= 8 else (large, 1000)
        if len(into) < limit:
            name = int(stored["gdb_id"][k])
            atoms = Atoms(numbers, stored["pos"][own])
            label = {NAME: np.asarray(gaps[name] * units.Hartree)}
            into.append(LabelledStructure(f"gdb-{name}", atoms, label))
    return small[500:], {"the same kind": small[:500], "nine heavy atoms": large}


def elements() -> Sets:
    train, _ = size()
    others = [molecule(name) for name in g2.names]
    return train, {
        f"with {symbol}": [
            LabelledStructure(str(atoms.symbols), atoms, {NAME: np.asarray(np.nan)})
            for atoms in others
            if symbol in atoms.symbols
        ]
        for symbol in ("S", "Cl", "P", "Si")
    }


CASES: dict[str, Callable[[], Sets]] = {
    "own": own,
    "oxides": oxides,
    "compounds": compounds,
    "size": size,
    "elements": elements,
}


@click.command()
@click.argument("case", type=click.Choice(list(CASES)))
@click.option("--pretrained", default="7net-0", show_default=True)
def main(case: str, pretrained: str) -> None:
    """Print how far what a model says of its errors holds in a CASE."""
    train, tests = CASES[case]()
    labels = [float(row.labels[NAME]) for row in train]
    model = MFTRegressor(pretrained=pretrained, property_name=NAME, progress=True)
    model.fit([row.atoms for row in train], labels)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.mft")
        loaded = load_model(Path(folder) / "model.mft")
    click.echo(f"{len(train)} training rows")
    table = [HEADER]
    for name, rows in tests.items():
        if np.isfinite(float(rows[0].labels[NAME])):
            table.append(to_row(name, Judged.of(loaded, NAME, rows)))
            continue
        trust = Counter(
            row.trust or row.status for row in predict(loaded, NAME, rows, 0.9)
        )
        click.echo(f"{name}: {dict(trust)}")
    if len(table) > 1:
        click.echo(text_table(table, "<" + ">" * (len(HEADER) - 1)))


if __name__ == "__main__":
    main()
