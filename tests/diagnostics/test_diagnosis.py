from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mftscreen.diagnostics.compared_models import load_network
from mftscreen.diagnostics.diagnosis import Diagnosis, DiagnosisOptions, diagnose
from mftscreen.diagnostics.drift import measure_drift
from mftscreen.errors import DataError, ModelError, UnknownModelError
from mftscreen.model.files.registry import registered_models

SHIPPED = "mft-mini-crystals"
OPTIONS = DiagnosisOptions(n_atoms=40, n_samples=15, n_environments=4, seed=2)


def test_every_number_is_of_the_same_sampled_rows(
    diagnosis: Diagnosis, structures: list[Atoms]
) -> None:
    found, _ = diagnosis.data_sets
    assert (found.n_structures, found.n_atoms) == (18, 6 * (3 + 8 + 2))
    networks = {"ft": diagnosis.fine_tuned["ft"].network}
    assert found.drift == measure_drift(
        diagnosis.pretrained.network, networks, structures, 40, 2
    )
    assert found.drift["ft"].w1 > 0
    labelled = found.atoms.labelled
    # the four most frequent of H1 O2 Mg18 O6 Ga4 As4 and what rattling makes of them
    assert len(labelled.names) == 4
    assert max(labelled.counts.values()) <= 15
    symbols = np.concatenate([list(atoms.symbols) for atoms in structures])
    families = np.array(labelled.families)[labelled.codes]
    np.testing.assert_array_equal(symbols[labelled.rows], families)
    assert found.atoms.pretrained.plane.shape == (len(labelled.rows), 2)
    for separation in (found.atoms.on_plane("ft"), found.atoms.in_descriptor("ft")):
        assert separation.ratio != 1.0
        assert len(separation.fine_tuned) == 2  # samples


def test_edges_are_those_of_the_most_frequent_bonds(diagnosis: Diagnosis) -> None:
    edges = diagnosis.data_sets[0].edges
    assert edges is not None
    assert edges.labelled.families == ("Mg-Mg",) * 3 + ("Mg-O",) * 3
    assert edges.labelled.names[3:] == ("Mg-O near", "Mg-O middle", "Mg-O far")
    assert edges.labelled.counts["Mg-O near"] == 15
    assert len(edges.in_descriptor("ft").pretrained) == 2


def test_data_without_edges_say_so(diagnosis: Diagnosis) -> None:
    found = diagnosis.data_sets[1]
    assert found.edges is None
    assert found.no_edges == "0 edges of bonded atoms; at least 10 needed"
    assert found.atoms.labelled.names == ("H0", "O0")


def test_all_numbers_are_json(diagnosis: Diagnosis, checkpoint: Path) -> None:
    document = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert document["pretrained"] == {"source": str(checkpoint), "sha256": digest}
    assert document["fine_tuned"]["ft"]["sha256"] != digest
    assert document["options"]["seed"] == 2
    assert document["versions"]["POT"]
    first = diagnosis.data_sets[0]
    numbers = document["data_sets"]["crystals and water"]
    assert numbers["n_rows"]["atoms"] == first.atoms.labelled.counts
    found = numbers["models"]["ft"]
    assert found["drift"] == vars(first.drift["ft"])
    expected = first.atoms.on_plane("ft")
    assert found["atoms"]["davies_bouldin_plane"] == {
        "pretrained": list(expected.pretrained),
        "fine_tuned": list(expected.fine_tuned),
        "ratio": expected.ratio,
        "ratio_sd": expected.sd,
    }
    assert document["data_sets"]["atoms"]["models"]["ft"]["edges"] is None


def test_a_model_against_itself_has_not_changed(
    checkpoint: Path, structures: list[Atoms]
) -> None:
    model = load_network(checkpoint, "cpu")
    stages: list[str] = []
    pairs = (("Ga", "As"), ("O", "H"))
    options = DiagnosisOptions(n_atoms=40, n_samples=10, pairs=pairs)
    (found,) = diagnose(
        model, {"same": model}, {"all": structures}, options, stages.append
    ).data_sets
    assert found.drift["same"].w1 == 0.0
    assert found.edges is not None
    assert found.edges.labelled.families == ("Ga-As",) * 3 + ("O-H",) * 3
    for comparison in (found.atoms, found.edges):
        assert comparison.in_descriptor("same").ratio == 1.0
        assert comparison.on_plane("same").ratio == 1.0
    assert stages == [
        "all: drift",
        *(f"all: {w}, {m}" for w in ("atoms", "edges") for m in MODELS),
    ]
    assert len(stages) == options.count_stages(["all"])


MODELS = ("pretrained", "same")


def test_clusters_of_chosen_data_sets_only(
    checkpoint: Path, structures: list[Atoms]
) -> None:
    model = load_network(checkpoint, "cpu")
    stages: list[str] = []
    options = DiagnosisOptions(n_atoms=20, n_samples=10, clustered=("b",))
    data = {"a": structures, "b": structures}
    first, second = diagnose(
        model, {"same": model}, data, options, stages.append
    ).data_sets
    assert (first.atoms, first.edges, first.no_atoms, first.no_edges) == (
        None, None, "", "",
    )  # fmt: skip
    assert first.drift == second.drift
    assert second.atoms is not None
    assert len(stages) == options.count_stages(data) == 6


def test_equal_atoms_have_a_drift_but_no_clusters(
    checkpoint: Path, moved_checkpoint: Path
) -> None:
    moved = {"ft": load_network(moved_checkpoint, "cpu")}
    models = load_network(checkpoint, "cpu"), moved
    data = {"silicon": [bulk("Si")] * 10}
    (found,) = diagnose(*models, data, OPTIONS).data_sets
    assert found.drift["ft"].w1 > 0
    assert found.atoms is None
    assert found.no_atoms.startswith("pretrained model: the features of all 15 rows")


def test_too_few_atoms(checkpoint: Path) -> None:
    model = load_network(checkpoint, "cpu")
    with pytest.raises(DataError, match="'ood' has 9 atoms; at least 10 needed"):
        diagnose(model, {"same": model}, {"ood": [molecule("H2O")] * 3})


def test_models_of_other_elements_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="one was not made from the other"):
        diagnose(
            load_network(SHIPPED, "cpu"), {"other": load_network(checkpoint, "cpu")}, {}
        )


def test_models_are_opened_by_name_and_by_path(tiny_model: Path) -> None:
    by_path = load_network(tiny_model, "cpu")
    assert by_path.source == str(tiny_model)
    assert by_path.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    expected = registered_models()[SHIPPED].sha256
    assert load_network(SHIPPED, "cpu").sha256 == expected
    with pytest.raises(UnknownModelError, match="mft-mini is several models; name"):
        load_network("mft-mini", "cpu")


def test_atoms_of_a_backbone_without_edges_are_compared(
    dpa4_checkpoint: Path, structures: list[Atoms]
) -> None:
    model = load_network(dpa4_checkpoint, "cpu")
    (found,) = diagnose(model, {"same": model}, {"all": structures}, OPTIONS).data_sets
    assert found.drift["same"].w1 == 0.0
    assert found.atoms is not None
    assert found.atoms.in_descriptor("same").ratio == 1.0
    assert found.edges is None
    assert "dpa4" in found.no_edges
    assert "edge features" in found.no_edges
