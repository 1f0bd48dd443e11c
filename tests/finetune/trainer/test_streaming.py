from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import read, write
from deepmd.pt.utils.dataloader import DpLoaderSet
from deepmd.utils.data import DataRequirementItem, DeepmdData

from mftscreen.data.dataset import ENERGY_LABELS, write_deepmd_npy
from mftscreen.data.sources import read_force_field
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.run.select import checkpoints
from mftscreen.finetune.stream import sample
from mftscreen.finetune.stream.limits import FrameLimits
from mftscreen.finetune.stream.spec import Side, Stream, open_stream
from mftscreen.finetune.trainer.replacements import open_arrays_in_turn
from mftscreen.finetune.trainer.streaming import StreamedBatches
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.reading import read_state

TYPE_MAP = ["Mg", "O", "Si"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def arrays_opened_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    create = staticmethod(DeepmdData._create_memmap)
    monkeypatch.setattr(DeepmdData, "_create_memmap", create)
    open_arrays_in_turn()


def _frame(number: int, *, periodic: bool = True, stressed: bool = True) -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    if number % 3 == 0:
        atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=number)
    if not periodic:
        atoms = Atoms(atoms.numbers, atoms.positions)
    rng = np.random.default_rng(number)
    results = {"energy": float(number), "forces": rng.normal(size=(len(atoms), 3))}
    if stressed and periodic:
        results["stress"] = rng.normal(size=6)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _stream(path: Path) -> Stream:
    limits = FrameLimits(TYPE_MAP, None, None, (), (4.0, 3.0))
    return open_stream([path], limits, Side(1e-9, 1))


def _loader(path: Path, folder: Path, n_atoms: int) -> DpLoaderSet:
    systems = write_deepmd_npy(read_force_field(path), folder, TYPE_MAP, ENERGY_LABELS)
    loader = DpLoaderSet([str(s) for s in systems], f"auto:{n_atoms}", TYPE_MAP, seed=1)
    options = {"must": False, "high_prec": False}
    loader.add_data_requirement(
        [
            DataRequirementItem("energy", 1, atomic=False, must=False, high_prec=True),
            DataRequirementItem("force", 3, atomic=True, **options),
            DataRequirementItem("virial", 9, atomic=False, **options),
            DataRequirementItem("atom_ener", 1, atomic=True, **options),
            DataRequirementItem("atom_pref", 1, atomic=True, repeat=3, **options),
        ]
    )
    return loader


@pytest.mark.parametrize(
    "kind", [{}, {"periodic": False}, {"stressed": False}], ids=["all", "gas", "part"]
)
def test_batches_are_those_of_deepmd_kit(tmp_path: Path, kind: dict[str, bool]) -> None:
    frames = [_frame(k, **kind) for k in (1, 2, 4)]
    write(tmp_path / "frames.extxyz", frames)
    # all of them in one batch
    loader = _loader(tmp_path / "frames.extxyz", tmp_path / "npy", 6)
    expected = loader[0]
    stream = _stream(tmp_path / "frames.extxyz")
    found = next(StreamedBatches(stream, loader[0], TYPE_MAP, 6, seed=1))
    assert found.keys() == expected.keys()
    orders = [torch.argsort(batch["energy"].ravel()) for batch in (found, expected)]
    for key, value in expected.items():
        if key == "fid":
            continue
        if not isinstance(value, torch.Tensor):
            assert found[key] == value, key
            continue
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        ours, theirs = found[key][orders[0]], value[orders[1]]
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_frames_of_a_kind_are_batched_together(tmp_path: Path) -> None:
    frames = [_frame(k) for k in range(30)]
    frames += [_frame(k, stressed=False) for k in range(30, 40)]
    write(tmp_path / "frames.extxyz", frames)
    loader = _loader(tmp_path / "frames.extxyz", tmp_path / "npy", 16)
    batches = StreamedBatches(
        _stream(tmp_path / "frames.extxyz"), loader[0], TYPE_MAP, 16, seed=1
    )
    counts = np.zeros(40)
    for batch in islice(batches, 120):
        n_frames, n_atoms, _ = batch["coord"].shape
        assert n_frames == {2: 8, 8: 2}[n_atoms]
        numbers = batch["energy"].ravel().numpy().astype(int)
        assert len({number >= 30 for number in numbers}) == 1
        assert batch["find_virial"] == (numbers[0] < 30)
        assert batch["virial"].any() == (numbers[0] < 30)
        np.add.at(counts, numbers, 1)  # a batch may have one twice
    # as often as any other, but for those that wait
    assert 0 <= batches.counts["used"] - counts.sum() < 3 * 8
    assert counts.max() - counts.min() <= 8
    again = StreamedBatches(
        _stream(tmp_path / "frames.extxyz"), loader[0], TYPE_MAP, 16, seed=1
    )
    other = StreamedBatches(
        _stream(tmp_path / "frames.extxyz"), loader[0], TYPE_MAP, 16, seed=2
    )
    firsts = [[b["energy"].tolist() for b in islice(s, 5)] for s in (again, other)]
    assert firsts[0] != firsts[1]


SEVERAL: list[dict[str, Any]] = [
    {"head": "first", "data": ["streamed.aselmdb"], "stream": {}, "max_atoms": 6},
    {"head": "second", "data": ["crystals.extxyz"], "stream": {"limit": 25}},
    {"head": "second", "name": "third", "data": ["test.extxyz"], "aux_prob": 0.2},
]


@pytest.fixture(scope="module")
def several(folder: Path, pretrained: Path, write_config: Callable[..., Path]) -> Path:
    """Return a configuration with three auxiliary heads, two of which are streamed."""
    with connect(folder / "streamed.aselmdb", type="aselmdb", append=False) as database:
        for atoms in read(folder / "crystals.extxyz", ":"):
            database.write(atoms)
    weights = ({"lambda_reg": "auto"}, {"lambda_reg": 0.5}, {})
    auxiliary = [
        {**head, **weight, "batch_size": 16}
        for head, weight in zip(SEVERAL, weights, strict=True)
    ]
    training = {"steps": 16, "save_every": 8, "batch_size": 16}
    return write_config(
        "several-auxiliary",
        "mft",
        pretrained=str(pretrained),
        auxiliary=auxiliary,
        training=training,
    )


@pytest.mark.slow
def test_several_streamed_heads_go_on_as_if_nothing_had_happened(
    folder: Path, several: Path
) -> None:
    run = folder / "several-auxiliary"
    path = run_training(load_config(several), run, threads=1)
    card = read_bundle(path).card
    assert card.energy_head == "first"
    assert list(card.force_field) == ["first", "second", "third"]
    for head in card.force_field.values():
        assert np.isfinite(head["validation"]["force_mae"])
    training = card.provenance
    assert training["aux_prob"] == {"first": 0.15, "second": 0.15, "third": 0.2}
    assert training["lambda_reg"]["first"] not in (1.0, "auto")
    assert training["lambda_reg"]["second"] == 0.5
    drawn = training["streams"]
    assert drawn["first"]["too many atoms"] > 0
    assert drawn["first"]["drawn"] > drawn["first"]["used"]
    assert drawn.keys() == {"first", "second"}
    assert card.force_field["second"]["n_train"] <= 25
    # no more than the sample of each is written
    written = json.loads((run / "input.json").read_text())["training"]["model_prob"]
    assert written == {"first": 0.15, "second": 0.15, "third": 0.2, "softness": 0.5}
    saved = checkpoints(run)
    last = read_state(saved[16])
    for file in (saved[16], path):
        file.unlink()
    run_training(load_config(several), run, resume=True, threads=1)
    again = read_state(saved[16])
    assert all(torch.equal(last[k], again[k]) for k in last if torch.is_tensor(last[k]))
    assert read_bundle(path).card.provenance["streams"] == drawn


@pytest.mark.slow
def test_elements_beyond_the_sample_are_on_the_card(
    folder: Path,
    pretrained: Path,
    write_config: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "N_SAMPLE", 1)
    monkeypatch.setattr(sample, "N_HELD_OUT", 1)
    frames = read(folder / "crystals.extxyz", ":")
    auxiliary = {"head": "first", "data": ["crystals.extxyz"], "stream": {}}
    path = run_training(
        load_config(
            write_config("rare", "mft", pretrained=str(pretrained), auxiliary=auxiliary)
        ),
        folder / "rare",
        threads=1,
    )
    found = read_bundle(path).card.force_field_domains["first"].elements
    assert len(found) > max(len(atoms.symbols.species()) for atoms in frames)
    assert set(found) <= {s for atoms in frames for s in atoms.symbols}


@pytest.mark.slow
def test_files_that_have_changed_end_a_run(
    folder: Path, pretrained: Path, write_config: Callable[..., Path]
) -> None:
    data = folder / "changing.extxyz"
    data.write_bytes((folder / "crystals.extxyz").read_bytes())
    auxiliary = {"head": "first", "data": [data.name], "stream": {}, "batch_size": 16}
    config = load_config(
        write_config("changing", "mft", pretrained=str(pretrained), auxiliary=auxiliary)
    )
    run_training(config, folder / "changing", threads=1)
    (folder / "changing" / "model.mft").unlink()
    with data.open("a") as stream:
        stream.write((folder / "test.extxyz").read_text())
    with pytest.raises(ConfigError, match="data, or how mftscreen divides them"):
        run_training(config, folder / "changing", resume=True, threads=1)


def test_stream_without_a_frame_ends_before_training(
    folder: Path, pretrained: Path, write_config: Callable[..., Path]
) -> None:
    auxiliary = {
        "head": "first",
        "data": ["crystals.extxyz"],
        "stream": {},
        "max_force": 1e-9,
    }
    path = write_config("none", "mft", pretrained=str(pretrained), auxiliary=auxiliary)
    with pytest.raises(DataError, match="too large a force"):
        run_training(load_config(path), folder / "none", threads=1)
    assert not (folder / "none").exists()
