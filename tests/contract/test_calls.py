"""Whatever public functions are given: an answer, or an error that says what is wrong.

Kinds of arguments are drawn, right ones and wrong ones mixed. No call ends in a bare
TypeError, AttributeError or the like.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from mftscreen import (
    MFTRegressor,
    Predictor,
    ScreenResult,
    finetune,
    load_model,
    rank,
    relax,
    split,
)
from mftscreen.errors import MftscreenError
from mftscreen.model.loaded_model import LoadedModel
from mftscreen.screen.candidates.elements import ElementFilter
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.relax.settings import RelaxSettings


class Word(Enum):
    """Members of an enum, as a user's own code may have them."""

    FIRE = "fire"
    DEMOTE = "demote"
    GAP = "gap"


MGO = bulk("MgO", "rocksalt", a=4.2)
CSCL = Structure(Lattice.cubic(4.1), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ONE_STEP = RelaxSettings(steps=1)
WRONG = [None, 3, -1.5, "", "nothing", b"x", object(), [None], {}, {"a": 1}, True, ()]
"""Of no use anywhere, or nearly so."""


def _structures() -> st.SearchStrategy[Any]:
    one = st.sampled_from(
        [MGO, CSCL, bulk("Si"), molecule("H2O"), Atoms("Po"), Atoms(), CSCL.as_dict()]
    )
    odd = st.sampled_from([None, "MgO", 7, MftscreenError("broken"), np.ones(3)])
    several = st.lists(one, max_size=3)
    return st.one_of(
        one,
        several,
        several.map(tuple),
        several.map(iter),
        several.map(lambda items: [(k, item) for k, item in enumerate(items)]),
        several.map(lambda items: {f"id {k}": item for k, item in enumerate(items)}),
        several.map(
            lambda items: pd.DataFrame({"s": items, "gap": [1.0] * len(items)})
        ),
        several.map(lambda items: pd.Series(items, dtype=object)),
        st.lists(st.one_of(one, odd), max_size=3),
        st.sampled_from(WRONG),
        st.sampled_from(["no.db", Path("no.extxyz"), ["a.cif", "b.cif"], "http://x"]),
    )


def _or_wrong(*values: Any) -> st.SearchStrategy[Any]:
    """Return one of the values or, one time in six, what is of no use."""
    return st.integers(0, 5).flatmap(
        lambda k: st.sampled_from(WRONG if k == 5 else values)
    )


def _checked(call: Callable[[], Any]) -> Any:
    """Return what a call returns; None if it raises as it should."""
    with warnings.catch_warnings(), suppress(MftscreenError):
        warnings.simplefilter("ignore")
        return call()
    return None


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> LoadedModel:
    return load_model(tiny_model)


SHARED = settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

RANK_OPTIONS = st.fixed_dictionaries(
    {
        "goals": _or_wrong(
            "gap", "Gap", "band gap", ["gap:max"], {"gap": "min"}, {"gap": (1, 2)},
            {"gap": Goal()}, RankOptions({"gap": Goal()}), Word.GAP, "gap=1..2",
        )
    },
    optional={
        "relax": _or_wrong("fire", Word.FIRE, False, {"steps": 1}, ONE_STEP),
        "ood": _or_wrong("demote", Word.DEMOTE),
        "elements": _or_wrong(ElementFilter(2), {"exclude": "Si"}, {"max_elements": 1}),
        "alpha": _or_wrong(0.1, np.float32(0.1)),
        "coverage": _or_wrong(0.8),
        "diverse": _or_wrong(0, np.int64(1)),
        "duplicates": _or_wrong("equivalent"),
        "method": _or_wrong("desirability"),
        "then": _or_wrong(None),
        "keep": _or_wrong("10%", 2),
        "carry": _or_wrong("gap", ["gap"], False),
        "id_key": _or_wrong("gap"),
        "column": _or_wrong("s"),
        "query": _or_wrong(None),
        "device": _or_wrong("cpu"),
        "scheduler": _or_wrong(None),
        "run": st.sampled_from([None, 3, object()]),
        "n_jobs": st.sampled_from([1, 0, "two", None]),
    },
)  # fmt: skip


@pytest.mark.slow
@SHARED
@given(source=_structures(), options=RANK_OPTIONS)
def test_rank(source: Any, options: dict[str, Any], tiny_model: Path) -> None:
    result = _checked(lambda: rank(source, models=tiny_model, **options))
    if result is not None:
        assert isinstance(result, ScreenResult)
        assert len(result.to_pandas()) == len(result.rows)
        assert repr(result)
        assert result._repr_html_()


@pytest.mark.slow
@SHARED
@given(
    structures=_structures(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "fmax": _or_wrong(0.5, np.float64(0.5)),
            "steps": _or_wrong(1, np.int64(2)),
            "optimizer": _or_wrong("bfgs", Word.FIRE),
            "cell_filter": _or_wrong("none", "frechet"),
            "relaxer": _or_wrong(None, "no.module:thing"),
        },
    ),
    wrong=st.sampled_from([None, None, None, 3, object(), "no.mft"]),
)
def test_relax(
    structures: Any, options: dict[str, Any], wrong: Any, model: LoadedModel
) -> None:
    found = _checked(lambda: relax(structures, wrong or model, **options))
    for atoms in found or ():
        assert atoms.calc is not None or atoms.info["relax_reason"]


@pytest.mark.slow
@SHARED
@given(structures=_structures(), names=_or_wrong(["gap"], ["Band-Gap"], ("gap",)))
def test_predict(structures: Any, names: Any, model: LoadedModel) -> None:
    from mftscreen.jobs.prediction import prediction_table

    def call() -> Any:
        return prediction_table(
            structures, model, Predictor(model, properties=names).properties
        )

    table = _checked(call)
    if table is not None and len(table):
        assert (table["status"].eq("ok") | table["reason"].ne("")).all()


@pytest.mark.slow
@SHARED
@given(
    structures=_structures(),
    y=st.one_of(
        st.lists(st.one_of(st.floats(), st.none()), max_size=3),
        st.sampled_from([None, "ab", [[1.0], [2.0]], {"a": 1}, np.ones((2, 2)), 3]),
    ),
    groups=st.sampled_from([None, [1, 1], [1], "ab", 3]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "strategy": _or_wrong("kernel"),
            "pretrained": st.sampled_from(
                ["mft-mini", "no.mft", 3, None, "nothing", [], ("mft-mini", 3)]
            ),
            "property_name": _or_wrong("gap", "Si"),
            "unit": _or_wrong("eV"),
            "head": _or_wrong("extensive"),
            "loss": _or_wrong("mse"),
            "config": _or_wrong({"seed": 2}, {"sed": 2}, {"properties": 3}),
            "random_state": _or_wrong(4),
            "alpha": _or_wrong(0.1),
        },
    ),
)
def test_fit(structures: Any, y: Any, groups: Any, options: dict[str, Any]) -> None:
    fitted = _checked(lambda: MFTRegressor(**options).fit(structures, y, groups))
    if fitted is not None:
        table = _checked(lambda: fitted.predict([MGO, None], return_trust=True))
        assert table is None or len(table) == 2


@settings(max_examples=120)
@given(
    document=st.recursive(
        st.sampled_from([*WRONG, "kernel", "mft-mini", MGO, [MGO], Word.FIRE]),
        lambda inside: st.dictionaries(
            st.sampled_from(
                ["strategy", "name", "pretrained", "properties", "gap", "data", "train",
                 "test", "seed", "validation", "unit", "training", "auxiliary"]
            ),
            inside,
            max_size=5,
        ),
    )
)  # fmt: skip
def test_finetune(document: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "never"
    assert _checked(lambda: finetune(document, folder)) is None
    assert not folder.exists()


@settings(max_examples=80)
@given(
    structures=_structures(),
    options=st.fixed_dictionaries(
        {"column": _or_wrong("gap"), "method": _or_wrong("random", "elements")},
        optional={
            "folds": _or_wrong(2),
            "seed": _or_wrong(1),
            "val_share": _or_wrong(0.1, 2.0),
            "min_test": _or_wrong(1),
            "by": _or_wrong("sgnum"),
            "output": _or_wrong(None),
            "omee": _or_wrong(None),
        },
    ),
)
def test_split(structures: Any, options: dict[str, Any]) -> None:
    _checked(lambda: split(structures, **options))
