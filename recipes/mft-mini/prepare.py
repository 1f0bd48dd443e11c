"""Cut the shared data into the files that this recipe's configurations name.

Usage: MFTSCREEN_DATA=/path/to/data python prepare.py [--to data]

Writes extended XYZ files:

* ``crystals.extxyz``: model labels (7net-l3i5), not DFT;
* ``dft.extxyz``: PBE/+U labels of several published sets;
* ``dielectric_{train,test}.extxyz``: MatBench dielectric, official fold 0;
* ``mlearn.extxyz``: PBE forces of Ni, Cu, Mo, Ge, Si and Li, never trained on.

Frames with a force above 30 eV/Å or a stress above 0.6 eV/Å^3 are dropped, those (a
few) so dense that they alone would double the padding of every batch, and every
force-field frame whose reduced formula occurs in fold 0's test rows, so that no test
composition is ever seen.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mftscreen.finetune.sources import read_labelled
from mftscreen.readers import iter_extxyz
from mftscreen.structures import find_neighbors

MAX_FORCE = 30.0
MAX_STRESS = 0.6
MAX_ATOMS = 64
MAX_NEIGHBORS = {5.0: 110, 3.5: 42}  # within so many Å
FOLD = 0


def composition(atoms: Atoms) -> str:
    """Return the reduced formula, with elements in alphabetical order."""
    return atoms.symbols.formula.reduce()[0].format("hill")


def is_crowded(atoms: Atoms) -> bool:
    """Return whether an atom has more neighbours than padding is provided for."""
    centers, _, _, distances = find_neighbors(atoms, max(MAX_NEIGHBORS))
    return any(
        np.bincount(centers[distances < cutoff], minlength=1).max() > most
        for cutoff, most in MAX_NEIGHBORS.items()
    )


def usable(path: Path, forbidden: set[str]) -> Iterator[Atoms]:
    """Yield the frames of one labelled file that pass the filters above."""
    for atoms in iter_extxyz(path):
        if not isinstance(atoms, Atoms):
            raise atoms
        force = np.linalg.norm(atoms.get_forces(), axis=1).max()
        stress = np.abs(atoms.get_stress()).max()
        if (
            force <= MAX_FORCE
            and stress <= MAX_STRESS
            and len(atoms) <= MAX_ATOMS
            and not is_crowded(atoms)
            and composition(atoms) not in forbidden
        ):
            yield atoms


def mlearn(path: Path) -> Iterator[Atoms]:
    """Yield the frames of mlearn (Zuo et al., doi:10.1021/acs.jpca.9b08723)."""
    with zipfile.ZipFile(path) as archive:
        frames = json.loads(archive.read("mlearn.json"))
    for frame in frames:
        crystal = frame["atoms"]
        atoms = Atoms(
            crystal["elements"],
            scaled_positions=crystal["coords"],
            cell=crystal["lattice_mat"],
            pbc=True,
            info={"id": frame["jid"]},
        )
        atoms.calc = SinglePointCalculator(
            atoms, energy=frame["energy"], forces=frame["forces"]
        )
        yield atoms


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), default="data")
def main(folder: Path) -> None:
    """Write the training, validation and test files of the recipe."""
    data = Path(os.environ["MFTSCREEN_DATA"])
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(read_labelled(data / "matbench/matbench_dielectric.json.gz", "n"))
    folds = json.loads((data / "folds/matbench_official_test_indices.json").read_text())
    test = set(folds["matbench_dielectric"][FOLD])
    parts: dict[str, list[Atoms]] = {"train": [], "test": []}
    for number, row in enumerate(rows):
        atoms = row.atoms.copy()
        atoms.info = {"id": row.id, "dielectric": float(row.labels["n"])}
        parts["test" if number in test else "train"].append(atoms)
    forbidden = {composition(atoms) for atoms in parts["test"]}
    for name, structures in parts.items():
        write(folder / f"dielectric_{name}.extxyz", structures, format="extxyz")
        click.echo(f"dielectric_{name}: {len(structures)}")
    sources = {
        "crystals": [data / "ff/crystals_7net-l3i5.extxyz.xz"],
        "dft": sorted((data / "dft_ef").glob("*.extxyz.xz")),
    }
    for name, paths in sources.items():
        frames = [atoms for path in paths for atoms in usable(path, forbidden)]
        write(folder / f"{name}.extxyz", frames, format="extxyz")
        click.echo(f"{name}: {len(frames)}")
    frames = list(mlearn(data / "dft_ef/mlearn.json.zip"))
    write(folder / "mlearn.extxyz", frames, format="extxyz")
    click.echo(f"mlearn: {len(frames)}")


if __name__ == "__main__":
    main()
