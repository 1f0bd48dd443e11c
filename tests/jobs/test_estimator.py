from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pymatgen.core import Lattice, Structure
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from mftscreen import MFTRegressor
from mftscreen.errors import ConfigError, DataError
from mftscreen.jobs import estimator as module
from mftscreen.model.files.bundle import DescriptorCard, read_bundle

FORMULAS = ("MgO", "CaO", "NaCl", "LiF", "KCl", "MgS")
NETWORK = {
    "descriptor": {
        "n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4,
        "edge_cutoff": 4.0, "angle_cutoff": 3.0,
    },
    "training": {"save_every": 2, "batch_size": 16},
}  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Crystals with the volume of an atom, which descriptors tell."""
    rng = np.random.default_rng(0)
    structures = [
        bulk(formula, "rocksalt", a=4.2 + 0.3 * rng.random())
        for formula in FORMULAS
        for _ in range(5)
    ]
    volumes = [atoms.get_volume() / len(atoms) for atoms in structures]
    names = [f"m-{k}" for k in range(len(structures))]
    return pd.DataFrame({"structure": structures, "volume": volumes}, index=names)


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> MFTRegressor:
    model = MFTRegressor(unit="Å^3", property_name="volume_of_atom")
    return model.fit(frame["structure"], frame["volume"])


@pytest.mark.slow
def test_fit_learns_from_a_column(fitted: MFTRegressor, frame: pd.DataFrame) -> None:
    found = fitted.predict(frame["structure"])
    assert found.shape == (30,)
    assert fitted.score(frame["structure"], frame["volume"]) > 0.9
    # atoms, pymatgen structures and arrays of objects are the same to it
    atoms = frame["structure"].iloc[0]
    same = Structure(
        Lattice(np.asarray(atoms.cell)), list(atoms.symbols), atoms.positions,
        coords_are_cartesian=True,
    )  # fmt: skip
    column = np.empty(2, dtype=object)
    column[:] = [atoms, same]
    assert fitted.predict(column) == pytest.approx([found[0]] * 2, rel=1e-5)


@pytest.mark.slow
def test_descriptors_may_stand_side_by_side(
    frame: pd.DataFrame, sevennet_backbone: Path
) -> None:
    pretrained = ("mft-mini", str(sevennet_backbone))
    rows = frame[frame["structure"].map(str).str.contains("MgO")]
    model = clone(MFTRegressor(unit="Å^3", pretrained=pretrained))
    model.fit(rows["structure"], rows["volume"])
    found = model.predict(rows["structure"])
    names = [own.name for own in model.model_.card.descriptors]
    assert names == ["mft-mini-crystals", "7net-small"]
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(rows["structure"]) == pytest.approx(found, rel=1e-9)
    with pytest.raises(ConfigError, match="only strategy: kernel"):
        MFTRegressor("ft", pretrained=pretrained).fit(rows["structure"], rows["volume"])


@pytest.mark.slow
def test_columns_of_labels_are_components(frame: pd.DataFrame, tmp_path: Path) -> None:
    sizes = frame["volume"].to_numpy()
    labels = pd.DataFrame({"volume": sizes, "edge": sizes ** (1 / 3)})
    model = MFTRegressor(property_name="size").fit(frame["structure"], labels)
    found = model.predict(frame["structure"])
    assert found.shape == (30, 2)
    assert model.score(frame["structure"], labels) > 0.8
    table = model.predict(frame["structure"], return_trust=True)
    assert np.array_equal(table[["size_volume", "size_edge"]].to_numpy(), found)
    assert "size_edge_low" in table
    axes = model.plot(frame["structure"], labels)
    assert axes.get_title().startswith("60 rows")
    plt.close(axes.figure)
    model.save(tmp_path / "size.mft")
    again = MFTRegressor.load(tmp_path / "size.mft")
    assert again.property_name_ == "size"
    np.testing.assert_array_equal(again.predict(frame["structure"]), found)
    scores = cross_val_score(clone(model), frame["structure"], labels, cv=2)
    assert np.isfinite(scores).all()


@pytest.mark.slow
def test_trust_is_a_table_with_the_index_of_the_column(
    fitted: MFTRegressor, frame: pd.DataFrame
) -> None:
    table = fitted.predict(frame["structure"][:4], return_trust=True)
    assert table.index.tolist() == ["m-0", "m-1", "m-2", "m-3"]
    assert table["id"].tolist() == table.index.tolist()
    assert {"volume_of_atom_low", "ood_p_value", "ood", "trust"} <= set(table.columns)
    told = table["volume_of_atom_low"].notna()
    assert told.any()
    assert (table["volume_of_atom_low"] < table["volume_of_atom"])[told].all()
    assert table["volume_of_atom_no_interval"][~told].all()
    with pytest.raises(DataError, match=r"1 of 2 structures have no prediction.*1: "):
        fitted.predict([bulk("Si"), Atoms("Po")])
    table = fitted.predict([bulk("Si"), Atoms("Po")], return_trust=True)
    assert table["status"].tolist()[1] != "ok"
    assert np.isnan(table["volume_of_atom"][1])
    assert table["reason"][1]


@pytest.mark.slow
def test_no_structures_have_no_values(fitted: MFTRegressor) -> None:
    assert fitted.predict([]).shape == (0,)


def test_seeds_may_be_drawn() -> None:
    seeds = {
        MFTRegressor(random_state=None)._document([], "gap")["seed"]  # type: ignore[arg-type]
        for _ in range(3)
    }
    assert len(seeds) == 3


def test_parity_is_drawn(fitted: MFTRegressor, frame: pd.DataFrame) -> None:
    with plt.rc_context({"backend": "agg"}):
        ax = fitted.plot(frame["structure"], frame["volume"])
        assert ax.get_ylabel() == "predicted volume_of_atom (Å^3)"
        assert ax.get_title().startswith("30 rows, MAE ")
        plt.close("all")


@pytest.mark.slow
def test_it_comes_back_from_pickle_joblib_and_model_files(
    fitted: MFTRegressor, frame: pd.DataFrame, tmp_path: Path
) -> None:
    crystals = frame["structure"][:3]
    expected = fitted.predict(crystals)
    content = pickle.dumps(fitted)
    assert len(content) < 2 * len(fitted.content_)  # the network is not in it, too
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    fitted.save(tmp_path / "my.mft")
    for again in (
        pickle.loads(content),
        joblib.load(tmp_path / "fitted.joblib"),
        MFTRegressor.load(tmp_path / "my.mft"),
    ):
        assert again.predict(crystals) == pytest.approx(expected)
        assert again.unit == "Å^3"
    assert again.pretrained == "mft-mini-crystals"
    assert again.get_params() == fitted.get_params() | {"pretrained": again.pretrained}
    with pytest.raises(ConfigError, match="one of volume_of_atom is needed"):
        MFTRegressor.load(tmp_path / "my.mft", "gap")
    assert clone(fitted).get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(crystals)


@pytest.mark.parametrize(
    ("descriptors", "config", "expected"),
    [
        (
            ["mft-mini-pretrained"],
            {
                "pretrained": "mft-mini-pretrained", "seed": 5,
                "properties": {"gap": {"loss": "mse"}},
            },
            {"pretrained": "mft-mini-pretrained", "random_state": 5, "loss": "mse"},
        ),
        (["a", "b"], {"pretrained": ["c"]}, {"pretrained": ["a", "b"]}),
        ([], {"pretrained": ["a"]}, {"pretrained": "a"}),
        (
            [], {"pretrained": "a.mft", "training": {"steps": 7, "seed": 3}},
            {"pretrained": "a.mft", "steps": 7, "random_state": 3},
        ),
        ([], {"pretrained": None, "training": [], "properties": {"gap": 3}}, {}),
        ([], None, {}),
    ],
)  # fmt: skip
def test_a_loaded_one_is_fitted_as_its_model_was(
    fitted: MFTRegressor, tmp_path: Path, descriptors: list[str], config: Any,
    expected: dict[str, Any],
) -> None:  # fmt: skip
    card = fitted.model_.card
    spec = card.properties["volume_of_atom"].spec.model_copy(update={"name": "gap"})
    head = card.properties["volume_of_atom"].model_copy(
        update={"spec": spec, "readout": None, "head": "gap"}
    )
    told = card.model_copy(
        update={
            "properties": {"gap": head},
            "descriptors": [DescriptorCard(name=n, sha256="") for n in descriptors],
            "provenance": {"config": config},
        }
    )
    model = SimpleNamespace(card=told, properties={"gap": spec})
    path = tmp_path / "gap.mft"
    path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_load", lambda _: model)
        params = MFTRegressor.load(path).get_params()
    usual = MFTRegressor(unit="Å^3", property_name="gap").get_params()
    assert params == usual | expected


@pytest.mark.slow
def test_it_is_cross_validated_and_searched(frame: pd.DataFrame) -> None:
    structures, volumes = frame["structure"].tolist(), frame["volume"].to_numpy()
    scores = cross_val_score(
        MFTRegressor(), structures, volumes, scoring="neg_mean_absolute_error"
    )
    # of predicting the mean
    assert -scores.mean() < np.abs(volumes - volumes.mean()).mean()
    search = GridSearchCV(MFTRegressor(), {"loss": ["mae", "mse"]}, cv=2)
    search.fit(frame["structure"], frame["volume"])
    assert search.best_params_["loss"] in ("mae", "mse")
    assert len(cross_val_predict(MFTRegressor(), structures, volumes, cv=2)) == 30


@pytest.mark.slow
def test_groups_are_held_out_together(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mftscreen.finetune.kernel import property_fitter

    seen = []
    drawn = property_fitter.draw_folds

    def draw_folds(groups: Any, *args: Any) -> Any:
        seen.append(drawn(groups, *args))
        return seen[-1]

    monkeypatch.setattr(property_fitter, "draw_folds", draw_folds)
    groups = np.arange(30) // 10  # two formulas each
    MFTRegressor().fit(frame["structure"], frame["volume"], groups=groups)
    for folds in seen:
        assert all(len(set(folds[groups == k])) == 1 for k in range(3))


@pytest.mark.slow
def test_a_network_is_trained_where_it_is_told_to(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = MFTRegressor(
        "scratch", steps=4, config=NETWORK, threads=1, output=tmp_path / "run"
    )
    model.fit(frame["structure"], frame["volume"])
    assert np.isfinite(model.predict(frame["structure"])).all()
    card = read_bundle(tmp_path / "run" / "model.mft").card
    assert card.strategy == "scratch"
    assert card.properties["volume"].training_set == "30 rows in memory"
    # a folder holds one run
    with pytest.raises(ConfigError, match="already holds a run"):
        model.fit(frame["structure"], frame["volume"])


@pytest.mark.parametrize("strategy", ["kernel", "ft", "lp", "mft"])
def test_the_pretrained_model_is_that_of_the_structures(strategy: str) -> None:
    from mftscreen.data.memory import RowsInMemory
    from mftscreen.finetune.config.read import as_config

    for atoms, domain in ((molecule("H2O"), "molecules"), (bulk("Si"), "crystals")):
        rows = RowsInMemory.of([atoms])
        config: Any = as_config(MFTRegressor(strategy)._document(rows, "gap"))
        assert config.pretrained == f"mft-mini-{domain}"
        assert config.properties["gap"].loss == "smooth_mae"
        if strategy == "mft":
            assert config.auxiliary.head == domain
            assert config.auxiliary.self_replay is not None


def test_frames_of_the_user_replace_those_that_are_made() -> None:
    own = {"auxiliary": {"head": "crystals", "data": ["frames.extxyz"]}}
    document = MFTRegressor("mft", config=own)._document([], "gap")  # type: ignore[arg-type]
    assert document["auxiliary"] == own["auxiliary"]


@pytest.mark.parametrize(
    ("options", "structures", "y", "message"),
    [
        ({"strategy": "svm"}, [bulk("Si")] * 2, [1, 2], "one of scratch, kernel, ft"),
        ({"head": "big"}, [bulk("Si")] * 2, [1, 2], "head: Input should be"),
        ({"config": 3}, [bulk("Si")] * 2, [1, 2], "config: a mapping of keys"),
        ({"config": {"strategy": "ft"}}, [bulk("Si")] * 2, [1, 2], "of its own"),
        ({"config": {"sed": 1}}, [bulk("Si")] * 2, [1, 2], "did you mean 'seed'"),
        ({}, [bulk("Si")] * 2, [1], "2 structures and 1 labels"),
        ({}, [bulk("Si")] * 2, None, "no labels to train on"),
        ({}, [bulk("Si")] * 2, [1, None], "no finite label"),
        ({}, [bulk("Si")] * 2, [[[1]], [[3]]], r"y has the shape \(2, 1, 1\)"),
        ({}, [bulk("Si")] * 2, [True, False], "for 'kind: class'"),
        (
            {"config": {"properties": {"y": {"kind": "class"}}}, "property_name": "y"},
            [bulk("Si")] * 2,
            [1, 0],
            r"mftscreen.finetune\(...\) trains on yes or no",
        ),
        ({}, [bulk("Si")], [1], "n_samples = 1"),
        ({}, [[1.0, 2.0]] * 2, [1, 2], "expected ase.Atoms or a pymatgen Structure"),
        ({}, 3, [1, 2], "int is not understood"),
        ({"property_name": "Si"}, [bulk("Si")] * 2, [1, 2], "already means something"),
    ],
)
def test_what_cannot_be_used_is_named(
    options: dict[str, Any], structures: Any, y: Any, message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        MFTRegressor(**options).fit(structures, y)


class OnNumbers(MFTRegressor):
    """The same on numbers, of which crystals are made, for scikit-learn's checks."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> MFTRegressor:
        return super().fit(_crystals(X), y, groups)

    def predict(self, X: Any, return_trust: bool = False) -> Any:
        return super().predict(_crystals(X), return_trust)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = tags.no_validation = True
        return tags


def _crystals(X: Any) -> list[Atoms]:
    rows = np.asarray(X, dtype=float)
    lengths = 4.0 + 0.1 * np.tanh(rows.reshape(len(rows), -1).sum(axis=1))
    return [bulk("MgO", "rocksalt", a=a) for a in lengths]


_SPARSE = "X of the estimator itself are structures, of which there are no sparse ones"
NOT_APPLICABLE = {
    "check_estimator_sparse_tag": _SPARSE,
    "check_estimator_sparse_array": _SPARSE,
    "check_estimator_sparse_matrix": _SPARSE,
    "check_array_api_input": "structures are not arrays",
    "check_regressors_train": "its numbers cannot be told from one lattice constant",
    "check_methods_subset_invariance": "single precision: the last digits depend on "
    "what shares a batch, and matter among crystals that are nearly the same",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks_pass_as_far_as_they_apply() -> None:
    checks = list(estimator_checks_generator(OnNumbers()))
    assert len(checks) > 40
    for estimator, check in checks:
        if check.func.__name__ not in NOT_APPLICABLE:
            check(estimator)
