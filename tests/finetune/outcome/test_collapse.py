"""The report that a run ends with: what it did to the pretrained descriptor."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.data.dataset import LabelledStructure
from mftscreen.diagnostics import plots
from mftscreen.diagnostics.drift import measure_drift
from mftscreen.finetune.outcome.collapse import (
    NUMBERS,
    PAGE,
    collapse_parts,
    read_collapse,
    report_collapse,
    starting_model,
)
from mftscreen.finetune.strategies import FTConfig, MFTConfig
from mftscreen.finetune.task.training_data import TrainingData
from mftscreen.model.network.backend import DeepmdNetwork


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the pretrained checkpoint with other weights."""
    content = torch.load(checkpoint, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    # the heads share the tensors of one descriptor
    changes: dict[int, torch.Tensor] = {}
    for name, value in content["model"].items():
        if ".descriptor." in name and name.endswith(".matrix"):
            noise = 0.1 * torch.randn(value.shape, generator=generator)
            value += changes.setdefault(value.data_ptr(), noise)
    path = tmp_path / "model.pt"
    torch.save(content, path)
    return path


def _crystals(n: int) -> list[Atoms]:
    found = []
    for k in range(n):
        atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
        atoms.rattle(0.05, seed=k)
        found.append(atoms)
    return found


PARTS = {"train": _crystals(3), "id": _crystals(5)[3:], "ood": _crystals(7)[5:]}


def test_a_report_has_the_drift_of_all_parts_and_clusters_of_the_ood_test(
    model: Path, checkpoint: Path
) -> None:
    parts = {**PARTS, "id": [molecule("H2O")] * 3}
    found = report_collapse(model, str(checkpoint), parts)
    assert found is not None
    assert "t-SNE" in model.with_name(PAGE).read_text()
    document = json.loads(model.with_name(NUMBERS).read_text())
    assert found.document == document
    networks = [DeepmdNetwork.from_checkpoint(p) for p in (checkpoint, model)]
    w1 = measure_drift(networks[0], {"ft": networks[1]}, PARTS["train"])["ft"].w1
    # 9 atoms are too few
    assert found.numbers.keys() == {"w1_train", "w1_ood", "db_plane", "db_descriptor"}
    assert found.numbers["w1_train"] == pytest.approx(w1, rel=1e-6)
    assert w1 > 0
    ood = document["data_sets"]["ood"]["models"]["fine-tuned"]["atoms"]
    assert found.numbers["db_descriptor"] == ood["davies_bouldin_descriptor"]["ratio"]
    assert document["data_sets"]["train"]["n_rows"]["atoms"] is None
    heading, train, last = (line.split() for line in found.to_table().splitlines())
    assert heading[:6] == ["drift", "from", checkpoint.name, "atoms", "W1", "spread"]
    assert train[:3] == ["train", "24", f"{w1:.3g}"]
    assert len(last) == len(train) + 2


def test_the_id_test_is_plotted_beside_the_ood_test(
    model: Path, checkpoint: Path
) -> None:
    parts = {"train": PARTS["ood"], "id": PARTS["train"], "ood": PARTS["id"]}
    parts["alloys"] = PARTS["ood"]
    found = report_collapse(model, str(checkpoint), parts)
    assert found is not None
    sets = found.document["data_sets"]
    plotted = [name for name, numbers in sets.items() if numbers["n_rows"]["atoms"]]
    assert plotted == ["id", "ood"]
    page = model.with_name(PAGE).read_text()
    assert re.findall(r'<img alt="(\w+): \d+ atoms', page) == ["id", "ood"]
    ood = sets["ood"]["models"]["fine-tuned"]["atoms"]["davies_bouldin_descriptor"][
        "ratio"
    ]
    assert found.numbers["db_descriptor"] == ood
    assert "collapse" in page[page.index('class="finding"') :].split("</p>")[0]


@pytest.mark.slow
def test_a_report_is_made_once_for_a_model(model: Path, checkpoint: Path) -> None:
    page, numbers = model.with_name(PAGE), model.with_name(NUMBERS)
    report_collapse(model, str(checkpoint), PARTS)
    first = page.stat().st_mtime_ns, numbers.stat().st_mtime_ns
    assert report_collapse(model, str(checkpoint), PARTS) == read_collapse(model)
    assert first == (page.stat().st_mtime_ns, numbers.stat().st_mtime_ns)
    page.unlink()
    report_collapse(model, str(checkpoint), PARTS)
    assert page.exists()
    model.write_bytes(checkpoint.read_bytes())
    assert read_collapse(model) is None
    found = report_collapse(model, str(checkpoint), PARTS)
    assert found is not None
    assert found.numbers["w1_ood"] == 0.0


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"fine_tuned": 1}', "null"])
def test_something_else_of_its_name_is_no_report(tmp_path: Path, content: str) -> None:
    model = tmp_path / "model.mft"
    model.write_bytes(b"weights")
    (tmp_path / NUMBERS).write_text(content)
    assert read_collapse(model) is None


def test_a_run_starts_from_what_it_takes_weights_of() -> None:
    config = FTConfig.model_validate(
        {
            "strategy": "ft",
            "name": "test",
            "pretrained": "mft-mini-crystals",
            "properties": {"gap": {"label": "gap"}},
            "data": {"train": ["unused"]},
            "training": {"steps": 1},
        }
    )
    settings = config.model_dump()
    assert starting_model(config) == "mft-mini-crystals"
    auxiliary = {"head": "crystals", "data": ["unused"]}
    random = {"transfer_backbone": False, "transfer_head": False}
    settings |= {"strategy": "mft", "auxiliary": auxiliary, **random}
    assert starting_model(MFTConfig.model_validate(settings)) is None


def test_small_parts_are_named(
    model: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {"train": [bulk("MgO", "rocksalt", a=4.2)], "ood": []}
    assert report_collapse(model, str(checkpoint), parts) is None
    # not those without any: a kernel has no validation rows
    assert [record.getMessage() for record in caplog.records] == [
        "the collapse report leaves out part 'train' of 2 atoms; 10 are needed",
    ]
    assert not model.with_name(NUMBERS).exists()


def test_a_plot_that_fails_leaves_the_numbers(
    model: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(figure: object) -> bytes:
        msg = "no fonts"
        raise RuntimeError(msg)

    model.with_name(PAGE).write_text("of another model")
    monkeypatch.setattr(plots, "picture", fail)
    assert report_collapse(model, str(checkpoint), PARTS) == read_collapse(model)
    assert read_collapse(model) is not None
    assert not model.with_name(PAGE).exists()
    (record,) = caplog.records
    assert record.getMessage().endswith("collapse.html cannot be made: no fonts")
    # an error that nobody foresaw comes with its place
    assert record.exc_info is not None


@pytest.mark.parametrize("obstacle", ["model", "folder"])
def test_what_cannot_be_reported_is_a_warning(
    model: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    pretrained = str(checkpoint)
    if obstacle == "model":
        pretrained = "missing.pt"
    else:
        model.with_name(NUMBERS).mkdir()
        (model.with_name(NUMBERS) / "file").touch()
    assert report_collapse(model, pretrained, PARTS) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"no collapse report of {model}: ")
    assert record.exc_info is None


def _rows(n: int, *names: str) -> list[LabelledStructure]:
    labels = dict.fromkeys(names or ("gap",), np.asarray(1.0))
    return [LabelledStructure(f"{k}", Atoms("H"), labels) for k in range(n)]


def _data(
    parts: dict[str, list[LabelledStructure]], properties: tuple[str, ...] = ("gap",)
) -> TrainingData:
    return TrainingData(parts, properties)


def test_parts_are_train_an_id_test_and_all_others() -> None:
    split = {"train": _rows(4), "ood": _rows(2), "validation": _rows(1)}
    assert list(collapse_parts(_data(split))) == ["train", "validation", "ood"]
    split |= {"id": _rows(3), "alloys": _rows(1)}
    found = collapse_parts(_data(split))
    assert {name: len(rows) for name, rows in found.items()} == {
        "train": 4, "id": 3, "ood": 2, "alloys": 1,
    }  # fmt: skip
    empty = collapse_parts(_data({**split, "id": []}))
    assert list(empty) == ["train", "validation", "id", "ood", "alloys"]


def test_structures_of_several_properties_count_once() -> None:
    rows = [*_rows(1, "shear"), *_rows(2), *_rows(2, "gap", "shear")]
    parts = {"train": rows[:4], "validation": rows[4:]}
    found = collapse_parts(_data(parts, ("gap", "shear")))
    # those of the first property come first
    expected = {"train": [*rows[1:4], rows[0]], "validation": rows[4:]}
    assert found.keys() == expected.keys()
    for part, kept in expected.items():
        assert [id(atoms) for atoms in found[part]] == [id(row.atoms) for row in kept]


def test_large_parts_are_sampled_evenly() -> None:
    rows = _rows(501)
    split = {"train": rows, "validation": rows[:1]}
    position = {id(row.atoms): k for k, row in enumerate(rows)}
    chosen = [position[id(a)] for a in collapse_parts(_data(split))["train"]]
    assert len(chosen) == 500
    assert np.diff(chosen).min() == 1
    assert (chosen[0], chosen[-1]) == (0, 499)
    assert len(collapse_parts(_data(split), None)["train"]) == 501


def finetune(*arguments: str | Path) -> tuple[str, str]:
    done = CliRunner().invoke(main, ["finetune", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


@pytest.mark.slow
def test_a_run_ends_with_a_report_unless_it_is_not_wanted(
    folder: Path, fine_tuned: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(fine_tuned.parent, tmp_path / "run")
    options = [folder / "ft.yaml", "-o", run, "--resume", "--threads", "1", "-q"]
    text, _ = finetune(*options, "--no-collapse-report")
    assert "drift" not in text
    assert not (run / PAGE).exists()
    model = (run / "model.mft").read_bytes()
    # a run that has ended gets its report when it is resumed
    text, _ = finetune(*options)
    assert (run / "model.mft").read_bytes() == model
    *lines, last = text.splitlines()
    (start,) = (k for k, line in enumerate(lines) if line.startswith("drift from"))
    end = lines.index(f"collapse report: {run / PAGE}")
    train, *_, held_out = lines[start + 1 : end]
    assert train.split()[0] == "train"
    assert float(train.split()[2]) > 0
    assert held_out.startswith("held out")
    assert last == str(run / "model.mft")
    made = (run / PAGE).stat().st_mtime_ns
    finetune(*options)
    assert (run / PAGE).stat().st_mtime_ns == made


@pytest.mark.slow
def test_a_run_from_random_weights_has_no_report(
    folder: Path, from_scratch: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(from_scratch.parent, tmp_path / "run")
    options = ["-o", run, "--resume", "--threads", "1", "-q"]
    text, _ = finetune(folder / "scratch.yaml", *options)
    assert "drift" not in text
    assert not (run / NUMBERS).exists()
