"""Splits: every method on small crystals, and the file format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.stats import gaussian_kde

from mftscreen.errors import DataError, StructureError
from mftscreen.ood import OFMFeaturizer
from mftscreen.ood.splits import (
    Fold,
    OFMVectors,
    Split,
    SplitData,
    cluster_rows,
    compute_vectors,
    draw_validation,
    kde_tails,
    label_structure,
    leave_one_out,
    loco,
    nearest_materials,
    property_tail,
    random_split,
    read_omee,
    report_folds,
    sparse_x_cluster,
    sparse_x_single,
    sparse_y_cluster,
    sparse_y_single,
)

SALTS = ["LiF", "NaCl", "MgO", "CaO", "KBr", "TiN"]
METALS = ["Cu", "Al", "Ag", "Pt", "Ni"]


def crystals() -> list[Atoms]:
    """Return 110 crystals: rock salts and fcc metals of several lattice constants."""
    salts = [bulk(s, "rocksalt", a=4.2 + 0.07 * k) for s in SALTS for k in range(10)]
    metals = [bulk(s, "fcc", a=3.6 + 0.06 * k) for s in METALS for k in range(10)]
    return salts + metals


@pytest.fixture(scope="module")
def data() -> SplitData:
    targets = np.random.default_rng(4).gamma(2.0, size=110)
    return SplitData([f"row-{k}" for k in range(110)], crystals(), targets)


@pytest.fixture(scope="module")
def vectors(data: SplitData) -> OFMVectors:
    return compute_vectors(data, OFMFeaturizer())


SPARSE = {"n_sparse": 40, "n_clusters": 5}
METHODS: dict[str, Callable[..., Split]] = {
    "random": lambda data, _, **seed: random_split(data, **seed),
    "loco": partial(loco, n_clusters=6),
    "sparse_x_single": partial(sparse_x_single, **SPARSE),
    "sparse_x_cluster": partial(sparse_x_cluster, n_neighbors=3, **SPARSE),
    "sparse_y_single": partial(sparse_y_single, **SPARSE),
    "sparse_y_cluster": partial(sparse_y_cluster, n_neighbors=3, **SPARSE),
    "kde_tails": lambda data, _, **seed: kde_tails(data, **seed),
    "property_tail": lambda data, _, **seed: property_tail(data, **seed),
    "chemsys": lambda data, _, **seed: leave_one_out(data, "chemsys", **seed),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(
    method: str, data: SplitData, vectors: OFMVectors, tmp_path: Path
) -> None:
    split = METHODS[method](data, vectors, seed=7)
    assert split.method == method
    assert split.seed == 7
    for fold in split.folds:
        parts = [fold.train, fold.val, fold.test, fold.id_test]
        # every row is in exactly one part
        assert sorted(sum(parts, ())) == sorted(data.ids)
        rest = len(data) - len(fold.test) - len(fold.id_test)
        assert len(fold.val) == rest - int(0.8 * rest)
    assert METHODS[method](data, vectors, seed=7) == split
    assert METHODS[method](data, vectors, seed=8).folds != split.folds
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json", data) == split
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]


def test_random_is_the_k_fold_of_matbench(data: SplitData) -> None:
    split = random_split(data, val_share=0.0)
    tested = [row for fold in split.folds for row in fold.test]
    assert sorted(tested) == sorted(data.ids)
    assert [len(fold.test) for fold in split.folds] == [22] * 5
    # MatBench's seed, in the order of the file
    shuffled = np.random.RandomState(18012019).permutation(110)
    for k, fold in enumerate(split.folds):
        rows = sorted(shuffled[22 * k : 22 * k + 22])
        assert fold.test == tuple(data.ids[row] for row in rows)
    assert all(fold.val == () for fold in split.folds)


def test_loco_is_a_fixed_point(data: SplitData, vectors: OFMVectors) -> None:
    labels = cluster_rows(vectors.values, 6, seed=0)
    means = np.stack([vectors.values[labels == k].mean(axis=0) for k in range(6)])
    distances = np.linalg.norm(vectors.values[:, None] - means, axis=2)
    own = distances[np.arange(len(data)), labels]
    assert (own <= distances.min(axis=1) + 1e-12).all()
    split = loco(data, vectors, n_clusters=6)
    assert [set(fold.test) for fold in split.folds] == [
        {data.ids[row] for row in np.flatnonzero(labels == k)} for k in range(6)
    ]
    assert split.parameters == {
        "n_clusters": 6, "val_share": 0.2, "table": "current", "mode": "exact",
    }  # fmt: skip


def rows_of(split: Split) -> list[int]:
    return [int(fold.test[0].removeprefix("row-")) for fold in split.folds]


def test_sparse_y_takes_rare_targets(data: SplitData, vectors: OFMVectors) -> None:
    rare = np.argsort(gaussian_kde(data.values)(data.values))[:20].tolist()
    options = {"n_sparse": 20, "n_clusters": 20, "val_share": 0.0}
    features = np.random.default_rng(0).normal(size=(110, 5))
    split = sparse_y_single(data, replace(vectors, features=features), **options)
    # as many clusters as rows: the order is that of the density
    assert rows_of(split) == rare


def test_sparse_y_published_defect(data: SplitData, vectors: OFMVectors) -> None:
    grid = np.linspace(data.values.min(), data.values.max(), 100)
    defect = np.argsort(gaussian_kde(data.values)(grid)).tolist()
    split = sparse_y_single(data, vectors, variant="published", n_clusters=5)
    rows = rows_of(split)
    assert rows[0] == defect[0]
    # in the order of the grid's densities, and never beyond the hundredth row
    assert [row for row in defect if row in rows] == rows
    assert rows != rows_of(sparse_y_single(data, vectors, n_clusters=5))
    assert split.parameters["variant"] == "published"
    few = SplitData(data.ids[:99], data.structures[:99], data.values[:99])
    with pytest.raises(DataError, match="needs 100 rows, got 99"):
        sparse_y_single(few, first_rows(vectors, 99), variant="published")


def first_rows(vectors: OFMVectors, n: int) -> OFMVectors:
    return replace(vectors, features=vectors.features[:n])


@pytest.mark.parametrize("kind", ["x", "y"])
def test_clusters_are_singles_with_neighbours(
    kind: str, data: SplitData, vectors: OFMVectors
) -> None:
    single = METHODS[f"sparse_{kind}_single"](data, vectors, seed=3)
    cluster = METHODS[f"sparse_{kind}_cluster"](data, vectors, seed=3)
    assert [f.name for f in single.folds] == [f.name for f in cluster.folds]
    assert rows_of(single) == rows_of(cluster)
    near = nearest_materials(
        vectors.values,
        {int(f.name): r for f, r in zip(single.folds, rows_of(single), strict=True)},
        3,
    )
    for fold in cluster.folds:
        assert fold.test[1:] == tuple(f"row-{row}" for row in near[int(fold.name)])


def test_neighbours_are_taken_once_in_order_of_labels() -> None:
    values = np.array([0.0, 1.0, 1.5, 3.0, 10.0, 11.0, 30.0])[:, None]
    assert nearest_materials(values, {2: 0, 1: 1}, 2) == {1: [2, 0], 2: [1, 3]}
    with pytest.raises(DataError, match="more than 8 rows, got 7"):
        nearest_materials(values, {0: 0, 1: 1}, 4)


def test_kde_tails_bandwidth_is_not_scaled() -> None:
    # bandwidth 100^-0.2 = 0.398 in the unit of the target: two groups 0.02 wide and 0.1
    # apart are one bump for it, whose rarest rows are the outer ends; a bandwidth
    # scaled by the spread would find the three rows between them
    groups = [np.linspace(0.0, 0.02, 60), np.linspace(0.12, 0.14, 37)]
    values = np.concatenate([*groups, [0.065, 0.07, 0.075]])
    data = SplitData([str(k) for k in range(100)], [bulk("Cu")] * 100, values)
    (fold,) = kde_tails(data, ood_share=0.03).folds
    assert {data.values[int(row)] for row in fold.test} <= set(np.sort(values)[-3:])
    scaled = np.argsort(gaussian_kde(values)(values))[:3]
    assert set(scaled.tolist()) == {97, 98, 99}


def test_kde_tails_shares_and_ties() -> None:
    values = np.round(np.random.default_rng(0).normal(scale=2.0, size=4000), 1)
    atoms = bulk("Cu")
    data = SplitData([str(k) for k in range(4000)], [atoms] * 4000, values)
    (fold,) = kde_tails(data).folds
    ood = np.array([data.values[int(row)] for row in fold.test])
    rest = np.array([data.values[int(r)] for r in fold.train + fold.val + fold.id_test])
    assert 360 < len(ood) <= 400
    assert not set(ood) & set(rest)  # equal targets stay together
    assert len(fold.id_test) / len(rest) == pytest.approx(0.05, abs=0.015)
    (more,) = kde_tails(data, id_share=0.5).folds
    assert more.test == fold.test
    assert len(more.id_test) / len(rest) == pytest.approx(0.5, abs=0.05)
    equal = SplitData(data.ids, data.structures, np.ones(4000))
    with pytest.raises(DataError, match="kde_tails has no test rows"):
        kde_tails(equal)


@pytest.mark.parametrize("tail", ["low", "high", "both"])
def test_property_tail_extrapolates(tail: str, data: SplitData) -> None:
    (fold,) = property_tail(data, tail=tail, ood_share=0.2).folds
    value = dict(zip(data.ids, data.values, strict=True))
    known = [value[row] for row in fold.train + fold.val + fold.id_test]
    tested = [value[row] for row in fold.test]
    assert fold.name == tail
    assert len(tested) == 22
    below = sum(each < min(known) for each in tested)
    above = sum(each > max(known) for each in tested)
    assert (below, above) == {"low": (22, 0), "high": (0, 22), "both": (11, 11)}[tail]


def test_leave_one_out_on_elements_and_groups(data: SplitData) -> None:
    split = leave_one_out(data, "elements")
    symbols = dict(zip(data.ids, (a.symbols for a in data.structures), strict=True))
    assert len(split.folds[0].test) == 20
    assert split.folds[0].name == "O"
    assert {fold.name for fold in split.folds} >= {"Li", "Cu", "O", "N"}
    for fold in split.folds:
        assert all(fold.name in symbols[row] for row in fold.test)
        assert not any(fold.name in symbols[row] for row in fold.train + fold.val)
    groups = {
        f.name: len(f.test) for f in leave_one_out(data, "periodictablegroups").folds
    }
    # Cu and Ag; Li, Na and K
    assert groups["group11"] == 20
    assert groups["group1"] == 30


def test_leave_one_out_limits(data: SplitData) -> None:
    # 12 rock salts, 10 fcc metals and silicon
    atoms = [*data.structures[::5], bulk("Si")]
    more = SplitData([str(k) for k in range(23)], atoms, np.arange(23.0))
    names = {fold.name for fold in leave_one_out(more, "prototype").folds}
    assert names == {"225: 4 m-3m"}  # rock salt is more than half of the rows
    every = leave_one_out(more, "prototype", min_test=1, max_share=1.0)
    assert [(fold.name, len(fold.test)) for fold in every.folds] == [
        ("225: 4 m-3m | 4 m-3m", 12),
        ("225: 4 m-3m", 10),
        ("227: 8 -43m", 1),
    ]
    with pytest.raises(DataError, match=r"none of 2 sgnum labels .* 1 to 22 rows"):
        leave_one_out(more, "sgnum")
    with pytest.raises(DataError, match=r"row mol has no sgnum label: .*periodicity"):
        leave_one_out(
            SplitData(["a", "mol"], [bulk("Si"), molecule("H2O")], [0, 1]), "sgnum"
        )
    with pytest.raises(DataError, match=r"by elements, .* got 'element'"):
        leave_one_out(more, "element")


def perovskite(origin: float) -> Atoms:
    places = np.array(
        [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    )
    return Atoms("SrTiO3", scaled_positions=places + origin, cell=[3.9] * 3, pbc=True)


def test_prototypes() -> None:
    def label(atoms: Atoms) -> str:
        return label_structure(atoms, "prototype")[0]

    # Wyckoff letters would differ: Sr in a and O in c, or Sr in b and O in d
    assert label(perovskite(0.0)) == label(perovskite(0.5))
    assert label(perovskite(0.0)) == "221: 1 m-3m | 1 m-3m | 3 4/mmm"
    # neither elements nor size nor a supercell matter, the arrangement does
    salt = bulk("NaCl", "rocksalt", a=5.64)
    assert label(salt) == label(bulk("MgO", "rocksalt", a=4.2, cubic=True))
    assert label(salt) == label(salt.repeat((2, 1, 1)))
    assert label(salt) != label(bulk("NaCl", "zincblende", a=5.64))
    assert label(bulk("Fe", "bcc", a=2.9)) != label(bulk("Fe", "fcc", a=3.6))
    # axes of an orthorhombic crystal in any order
    flat = Atoms(
        "OFFe2",
        scaled_positions=[[0, 0, 0.1], [0, 0, 0.6], [0.5, 0, 0.3], [0.5, 0, 0.8]],
        cell=[3.0, 4.0, 7.0],
        pbc=True,
    )
    turned = Atoms(flat.symbols, cell=[4.0, 7.0, 3.0], pbc=True)
    turned.set_scaled_positions(flat.get_scaled_positions()[:, [1, 2, 0]])
    assert label(flat) == label(turned)
    assert "mm2" in label(flat)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pymatgen's use of spglib
def test_space_groups_are_those_of_matfold() -> None:
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    rattled = perovskite(0.0)
    rattled.positions[1] += [0.03, 0.0, 0.0]
    for atoms in (bulk("Ti"), bulk("Si"), rattled, perovskite(0.2)):
        structure = AseAtomsAdaptor.get_structure(atoms)
        expected = SpacegroupAnalyzer(structure, 0.1).get_space_group_symbol()
        assert label_structure(atoms, "sgnum") == [expected]


def test_validation_rows() -> None:
    rows = list(range(5, 105))
    drawn = draw_validation(rows, 0.25, seed=1)
    assert len(set(drawn)) == 25
    assert set(drawn) <= set(rows)
    assert drawn == draw_validation(rows[::-1], 0.25, seed=1)
    assert drawn != draw_validation(rows, 0.25, seed=2)
    with pytest.raises(DataError, match=r"\[0, 1\), got 1.0"):
        draw_validation(rows, 1.0, seed=0)


def test_report(data: SplitData, vectors: OFMVectors) -> None:
    split = leave_one_out(data, "chemsys", val_share=0.1)
    reports = list(report_folds(split, data, vectors))
    assert [r.name for r in reports] == [f.name for f in split.folds]
    first = dict(zip(data.ids, data.values, strict=True))
    tested = [first[row] for row in split.folds[0].test]
    assert reports[0].test_range == (min(tested), max(tested))
    assert (reports[0].n_train, reports[0].n_val, reports[0].n_test) == (90, 10, 10)
    by_name = {r.name: r.median_p_value for r in reports}
    # Cu and Ag share their valence orbitals, but not their volumes
    assert all(p < 0.05 for p in by_name.values())
    matrices = replace(vectors, features=vectors.values)
    alike = {r.name: r.median_p_value for r in report_folds(split, data, matrices)}
    assert alike["N-Ti"] < 0.05 < alike["Cu"]
    assert list(report_folds(split, data, vectors, n_jobs=2)) == reports
    random = list(report_folds(random_split(data), data, vectors))
    assert all(r.median_p_value > 0.1 for r in random)
    assert next(report_folds(split, data)).median_p_value is None


def test_rows_without_matrix_are_named(data: SplitData) -> None:
    atoms = [*data.structures[:4], molecule("H2O")]
    bad = SplitData([*data.ids[:4], "water"], atoms, np.arange(5.0))
    with pytest.raises(DataError, match=r"1 of 5 rows .* water \(.*periodic"):
        compute_vectors(bad, OFMFeaturizer())


def test_other_data_are_refused(data: SplitData, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    random_split(data).write(path)
    moved = [*data.structures[:-1], bulk("Ni", "fcc", a=3.0)]
    targets = data.values.copy()
    targets[3] += 1e-9
    order = [1, 0, *range(2, 110)]
    for ids, structures, values in (
        (data.ids, moved, data.values),
        (data.ids, data.structures, targets),
        (
            [data.ids[k] for k in order],
            [data.structures[k] for k in order],
            data.values[order],
        ),
        (data.ids[:50], data.structures[:50], data.values[:50]),
    ):
        other = SplitData(ids, structures, values)
        with pytest.raises(DataError, match=r"split\.json: the split was made of"):
            Split.read(path, other)
    same = SplitData(list(data.ids), crystals(), data.values.tolist())
    Split.read(path, same)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected 'mftscreen split 1'"),
        ({"ids": ["a", "a", "c"]}, "'a' stands more than once"),
        ({"folds": []}, "gives no folds"),
        ({"folds": None}, "not a split"),
        ({"folds": [{"name": "f", "train": [0]}]}, "not a split: .*'val'"),
    ],
)
def test_damaged_files(change: dict[str, object], message: str, tmp_path: Path) -> None:
    fold = Fold("f", ("a",), (), ("b",), ("c",))
    split = Split("random", {}, 0, "0", ("a", "b", "c"), (fold,))
    document = json.loads(split.to_json())
    assert Split.from_json(json.dumps(document)) == split
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document | change))
    with pytest.raises(DataError, match=message):
        Split.read(path)
    for row in (-1, 3, "a"):
        document["folds"][0]["test"] = [row]
        with pytest.raises(DataError, match=f"no row number {row}"):
            Split.from_json(json.dumps(document))
    path.write_text("{")
    with pytest.raises(DataError, match=r"bad\.json: not a split"):
        Split.read(path)


def test_folds_are_checked() -> None:
    with pytest.raises(DataError, match="fold f: row 'b' stands more than once"):
        Fold("f", ("a", "b"), (), ("c",), ("b",))
    with pytest.raises(DataError, match="fold f has no train rows"):
        Fold("f", (), (), ("c",))
    with pytest.raises(DataError, match="no row has the id 'c'"):
        Split("random", {}, 0, "0", ("a",), (Fold("f", ("a",), (), ("c",)),))


@pytest.mark.parametrize(
    ("ids", "targets", "message"),
    [
        (["a", "b"], [0.0], "2 ids, 2 structures and targets of shape"),
        (["a", "a"], [0.0, 1.0], "row id 'a' stands more than once"),
        (["a", "b"], [0.0, np.nan], "target of row b is nan"),
    ],
)
def test_data_are_checked(ids: list[str], targets: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SplitData(ids, [bulk("Cu"), bulk("Al")], targets)


def test_too_few_rows(data: SplitData, vectors: OFMVectors) -> None:
    with pytest.raises(DataError, match="n_clusters = 1 or less"):
        cluster_rows(np.zeros((9, 3)), 3, seed=0)
    with pytest.raises(DataError, match="111 clusters of 110 rows"):
        loco(data, vectors, n_clusters=111)
    with pytest.raises(DataError, match="less than the 110 rows, got 200"):
        sparse_x_single(data, vectors, perplexity=200)
    with pytest.raises(DataError, match="3 vectors of 110 rows"):
        loco(data, first_rows(vectors, 3))
    with pytest.raises(DataError, match="1 folds"):
        random_split(data, n_folds=1)


def test_what_spglib_and_pymatgen_cannot_take_is_named(data: SplitData) -> None:
    broken, unknown = bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "rocksalt", a=4.2)
    broken.positions[1] = np.nan
    unknown.numbers[1] = 0
    for name, atoms, by, message in (
        ("broken", broken, "sgnum", "not finite"),
        ("broken", broken, "prototype", "not finite"),
        ("unknown", unknown, "periodictablegroups", "X is in no group"),
    ):
        rows = SplitData(["a", name], [data.structures[0], atoms], [1.0, 2.0])
        with pytest.raises(DataError, match=f"row {name} has no {by} label: .*"):
            leave_one_out(rows, by, min_test=1)
        with pytest.raises(StructureError, match=message):
            label_structure(atoms, by)


def test_arguments_out_of_range(data: SplitData, vectors: OFMVectors) -> None:
    with pytest.raises(DataError, match="n_sparse must be at least 1, got 0"):
        sparse_y_single(data, vectors, n_sparse=0)
    with pytest.raises(DataError, match="n_neighbors must be at least 1, got 0"):
        sparse_y_cluster(data, vectors, n_neighbors=0, n_clusters=5)
    for share in (np.nan, np.inf, 0.0, 1.0):
        with pytest.raises(DataError, match="ood_share must be between 0 and 1"):
            kde_tails(data, ood_share=share)


def test_equal_structures_have_no_sparse_region() -> None:
    same = SplitData([str(k) for k in range(60)], [bulk("Si")] * 60, np.arange(60.0))
    vectors = compute_vectors(same, OFMFeaturizer())
    with pytest.raises(DataError, match="all orbital field matrices are equal"):
        sparse_x_single(same, vectors, n_clusters=2)


def test_published_files(data: SplitData, tmp_path: Path) -> None:
    folds = [
        {"cluster": "7", "test": [3, 1], "val": [109, 0]},
        {"cluster": "2", "test": [4], "val": [5]},
    ]
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"matbench_x": {"LOCO": folds}}))
    split = read_omee(path, "matbench_x", "loco", data)
    assert [fold.name for fold in split.folds] == ["7", "2"]
    assert split.folds[0].test == ("row-3", "row-1")
    assert split.folds[0].val == ("row-109", "row-0")
    assert len(split.folds[0].train) == 106
    split.check_data(data)
    with pytest.raises(DataError, match=r"no LOCO folds of 'matbench_y'.* matbench_x"):
        read_omee(path, "matbench_y", "loco", data)
    with pytest.raises(DataError, match="no SparseYsingle folds"):
        read_omee(path, "matbench_x", "sparse_y_single", data)
    few = SplitData(data.ids[:50], data.structures[:50], data.values[:50])
    with pytest.raises(DataError, match="are of 110 rows, the data have 50"):
        read_omee(path, "matbench_x", "loco", few)
    path.write_text(json.dumps({"matbench_x": {"LOCO": [{"rows": [1]}]}}))
    with pytest.raises(DataError, match=r"folds\.json: not a file of folds"):
        read_omee(path, "matbench_x", "loco", data)
