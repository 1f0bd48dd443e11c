"""Cut the shared data into the files that this recipe's configurations name.

Usage: MFTSCREEN_DATA=/path/to/data python prepare.py [--to data]

Writes extended XYZ files. For pretraining and as auxiliary data:

* ``crystals.extxyz``: model labels (7net-l3i5), not DFT;
* ``dft.extxyz``: PBE/+U labels of several published sets;
* ``molecules.extxyz``: semi-empirical labels (GFN2-xTB), not DFT;
* ``mlearn.extxyz``: PBE forces of Ni, Cu, Mo, Ge, Si and Li, never trained on.

Frames with a force above 30 eV/Å or a stress above 0.6 eV/Å^3 are dropped, those (a
few) so dense that they alone would double the padding of every batch, and every crystal
whose reduced formula occurs in one of the three MatBench tasks: whatever fold is held
out later, the descriptor has not seen it.

For fine-tuning:

* ``{dielectric,log_gvrh,perovskites}_{train,test}.extxyz``: MatBench, official fold 0,
  and ``crystals_test.extxyz``, the test rows of all three;
* ``crystals_all.extxyz`` with ``clusters.json``: all their rows, and one fold that
  leaves out, for each task, the one of 50 clusters (of orbital field matrices of all
  rows) that holds most of its rows;
* ``qm9_{train,id,ood}.extxyz``: in ``ood``, a molecule has the labels of those
  properties of which it is among BOOM's 10,000 rarest, in ``id`` of those of which BOOM
  draws it as a test in distribution. No molecule of either, for any property, is in
  ``train``, because one property can give another away (gap = LUMO - HOMO), and none
  of the molecules in ``molecules.extxyz`` is in either;
* ``qm9_gap.extxyz`` with ``qm9_gap.json``: 5,500 of the training rows and the tests of
  the gap, to compare strategies on.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from scipy.spatial.distance import pdist

from mftscreen.data.public_sets import download_dataset
from mftscreen.data.readers import iter_extxyz
from mftscreen.data.sources import read_labelled
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    Fold,
    Split,
    SplitData,
    compute_vectors,
    kde_tails,
    loco,
)
from mftscreen.ood.splits.split import build_split
from mftscreen.structures import find_neighbors

MAX_FORCE = 30.0
MAX_STRESS = 0.6
MAX_ATOMS = 64
MAX_NEIGHBORS = {5.0: 110, 3.5: 42}  # within so many Å
MATBENCH = {
    "dielectric": "n", "log_gvrh": "log10(G_VRH)", "perovskites": "e_form",
}  # fmt: skip
FOLD = 0
QM9 = (
    "mu_D", "alpha_bohr3", "homo_Ha", "lumo_Ha", "gap_Ha", "r2_bohr2", "zpve_Ha",
    "cv_cal_mol_K",
)  # fmt: skip
N_TRAIN, N_TEST, N_RAREST, SEED = 30_000, 2_000, 10_000, 7
GAP, N_COMPARED = "gap_Ha", 5_500


def composition(atoms: Atoms) -> str:
    """Return the reduced formula, with elements in alphabetical order."""
    return atoms.symbols.formula.reduce()[0].format("hill")


def forbidden_compositions(data: Path) -> set[str]:
    """Return the compositions of all rows of the three MatBench tasks."""
    return {
        composition(atoms)
        for _, parts in matbench(data)
        for structures in parts.values()
        for atoms in structures
    }


def is_crowded(atoms: Atoms) -> bool:
    """Return whether an atom has more neighbours than padding is provided for."""
    centers, _, _, distances = find_neighbors(atoms, max(MAX_NEIGHBORS))
    return any(
        np.bincount(centers[distances < cutoff], minlength=1).max() > most
        for cutoff, most in MAX_NEIGHBORS.items()
    )


def usable(paths: Iterable[Path], forbidden: set[str]) -> Iterator[Atoms]:
    """Yield the frames of labelled files that pass the filters above."""
    for atoms in (atoms for path in paths for atoms in iter_extxyz(path)):
        if not isinstance(atoms, Atoms):
            raise atoms
        if (
            np.linalg.norm(atoms.get_forces(), axis=1).max() <= MAX_FORCE
            and (not atoms.pbc.any() or np.abs(atoms.get_stress()).max() <= MAX_STRESS)
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


def matbench(data: Path) -> Iterator[tuple[str, dict[str, list[Atoms]]]]:
    """Yield each task with its training rows and those of the test fold."""
    folds = json.loads((data / "folds/matbench_official_test_indices.json").read_text())
    for task, column in MATBENCH.items():
        path = data / f"matbench/matbench_{task}.json.gz"
        test = set(folds[f"matbench_{task}"][FOLD])
        parts: dict[str, list[Atoms]] = {"train": [], "test": []}
        for number, row in enumerate(read_labelled(path, column)):
            atoms = row.atoms.copy()
            atoms.info = {"id": row.id, task: float(row.labels[column])}
            parts["test" if number in test else "train"].append(atoms)
        yield task, parts


def qm9(folder: Path, parents: Iterable[Atoms]) -> dict[str, list[Atoms]]:
    """Return molecules with the properties for which each is to be used.

    `parents`, whose force fields are trained on, are in no test.
    """
    path = download_dataset("qm9", folder, progress=True).path
    molecules = [atoms for atoms in iter_extxyz(path) if isinstance(atoms, Atoms)]
    labels = {name: np.array([m.info[name] for m in molecules]) for name in QM9}
    ids = [m.info["id"] for m in molecules]
    place = {name: k for k, name in enumerate(ids)}
    seen = _places(list(parents), molecules)
    tests: dict[str, dict[str, list[int]]] = {"ood": {}, "id": {}}
    for name, values in labels.items():
        data = SplitData(ids, molecules, values)
        (fold,) = kde_tails(data, ood_share=N_RAREST / len(ids)).folds
        for part, rows in (("ood", fold.test), ("id", fold.id_test)):
            tests[part][name] = [place[row] for row in rows]
    taken = {k for part in tests.values() for rows in part.values() for k in rows}
    generator = np.random.default_rng(SEED)
    rest = np.setdiff1d(np.arange(len(ids)), list(taken))
    chosen = generator.choice(rest, N_TRAIN, replace=False)
    parts = {"train": _with_labels(molecules, dict.fromkeys(QM9, chosen.tolist()))}
    for part, rows in tests.items():
        some = {
            name: generator.choice(
                np.setdiff1d(rows[name], seen), N_TEST, replace=False
            ).tolist()
            for name in QM9
        }
        parts[part] = _with_labels(molecules, some)
    return parts


def _places(some: Iterable[Atoms], molecules: list[Atoms]) -> list[int]:
    """Return the numbers of the molecules with the distances of one of `some`."""
    isomers: dict[str, list[int]] = {}
    for k, atoms in enumerate(molecules):
        isomers.setdefault(atoms.get_chemical_formula(), []).append(k)
    found = []
    for atoms in some:
        numbers = isomers.get(atoms.get_chemical_formula(), [])
        distances = np.sort(pdist(atoms.positions))
        others = np.array([np.sort(pdist(molecules[k].positions)) for k in numbers])
        near = np.abs(others.reshape(-1, len(distances)) - distances).max(1) < 1e-3
        found += [k for k, same in zip(numbers, near, strict=True) if same]
    return found


def _with_labels(
    molecules: list[Atoms], rows: Mapping[str, Iterable[int]]
) -> list[Atoms]:
    """Return molecules with the properties whose rows they are in, and no others."""
    info: dict[int, dict[str, str | float]] = {}
    for name, numbers in rows.items():
        for k in numbers:
            info.setdefault(k, {"id": molecules[k].info["id"]})[name] = float(
                molecules[k].info[name]
            )
    chosen = []
    for k in sorted(info):
        atoms = molecules[k].copy()
        atoms.info = info[k]
        chosen.append(atoms)
    return chosen


def leave_clusters_out(tasks: Mapping[str, list[Atoms]], n_clusters: int = 50) -> Split:
    """Return the split whose only fold tests, of each task, its largest cluster."""
    rows = [atoms for structures in tasks.values() for atoms in structures]
    ids = [atoms.info["id"] for atoms in rows]
    data = SplitData(ids, rows, np.zeros(len(rows)))
    vectors = compute_vectors(data, OFMFeaturizer(n_jobs=-1))
    clusters = loco(data, vectors, n_clusters=n_clusters).folds
    chosen = set()
    for structures in tasks.values():
        own = {atoms.info["id"] for atoms in structures}
        chosen.add(max(clusters, key=lambda fold: len(own.intersection(fold.test))))
    names = "-".join(sorted((fold.name for fold in chosen), key=int))
    place = {name: k for k, name in enumerate(ids)}
    tests = {names: sorted(place[row] for fold in chosen for row in fold.test)}
    return build_split(data, "loco", {"val_share": 0.05}, tests, seed=0)


def gap_split(parts: Mapping[str, list[Atoms]]) -> tuple[list[Atoms], Split]:
    """Return molecules with a gap, and the split with BOOM's tests of it."""
    generator = np.random.default_rng(SEED)
    rows: dict[str, list[Atoms]] = {}
    for part, molecules in parts.items():
        rows[part] = [atoms for atoms in molecules if GAP in atoms.info]
        if part == "train":
            chosen = generator.choice(len(molecules), N_COMPARED, replace=False)
            rows[part] = [molecules[k] for k in sorted(chosen)]
        for k, atoms in enumerate(rows[part]):
            rows[part][k] = atoms.copy()
            rows[part][k].info = {key: atoms.info[key] for key in ("id", GAP)}
    ids = {part: [a.info["id"] for a in some] for part, some in rows.items()}
    validation = set(generator.choice(ids["train"], N_COMPARED // 11, replace=False))
    train = [name for name in ids["train"] if name not in validation]
    fold = Fold(
        "boom",
        tuple(train),
        tuple(sorted(validation)),
        tuple(ids["ood"]),
        tuple(ids["id"]),
    )
    everything = [atoms for some in rows.values() for atoms in some]
    names = [atoms.info["id"] for atoms in everything]
    gaps = np.array([atoms.info[GAP] for atoms in everything])
    data = SplitData(names, everything, gaps)
    return everything, Split("boom", {}, SEED, data.hash, tuple(names), (fold,))


@click.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), default="data")
def main(folder: Path) -> None:
    """Write the training, validation and test files of the recipe."""
    data = Path(os.environ["MFTSCREEN_DATA"])
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, structures: list[Atoms]) -> None:
        write(folder / f"{name}.extxyz", structures, format="extxyz")
        click.echo(f"{name}: {len(structures)}")

    tasks = dict(matbench(data))
    for task, parts in tasks.items():
        for part, structures in parts.items():
            save(f"{task}_{part}", structures)
    save("crystals_test", [a for parts in tasks.values() for a in parts["test"]])
    everything = {t: [*parts["train"], *parts["test"]] for t, parts in tasks.items()}
    rows = [atoms for structures in everything.values() for atoms in structures]
    save("crystals_all", rows)
    leave_clusters_out(everything).write(folder / "clusters.json")
    forbidden = {composition(atoms) for atoms in rows}
    sources = {
        "crystals": [data / "ff/crystals_7net-l3i5.extxyz.xz"],
        "dft": sorted((data / "dft_ef").glob("*.extxyz.xz")),
    }
    for name, paths in sources.items():
        save(name, list(usable(paths, forbidden)))
    molecules = list(usable([data / "ff/molecules_gfn2.extxyz.xz"], set()))
    save("molecules", molecules)
    parents = [atoms for atoms in molecules if atoms.info["kind"] == "eq"]
    save("mlearn", list(mlearn(data / "dft_ef/mlearn.json.zip")))
    parts = qm9(folder, parents)
    for part, structures in parts.items():
        save(f"qm9_{part}", structures)
    structures, split = gap_split(parts)
    save("qm9_gap", structures)
    split.write(folder / "qm9_gap.json")


if __name__ == "__main__":
    main()
