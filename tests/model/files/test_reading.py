from __future__ import annotations

import copy
import io
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mftscreen import load_model
from mftscreen.cli import main
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.errors import ModelFileError
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.files.checkpoint import (
    model_parameters,
    save_state,
)
from mftscreen.model.files.reading import read_checkpoint, read_state
from mftscreen.model.network.backend import DeepmdNetwork

REMOVED = object()

FAULTS: dict[str, tuple[list[Any], Any, str]] = {
    "no heads": ([], {}, "model_dict: .* dictionary of 1 to"),
    "list of heads": ([], ["gap"], "model_dict: .* dictionary of 1 to"),
    "number for a name": ([7], {}, "a dict stands where plain containers"),
    "list for a head": (["gap"], [], "model: gap: .* dictionary"),
    "no elements": (["gap", "type_map"], REMOVED, "gap.type_map: Field required"),
    "empty type map": (["gap", "type_map"], [], "gap.type_map: .* at least 1 item"),
    "numbers for elements": (["gap", "type_map"], [8, 14], "gap.type_map.0: .* string"),
    "no descriptor": (["gap", "descriptor"], REMOVED, "gap.descriptor: Field required"),
    "no fitting net": (["gap", "fitting_net"], REMOVED, "fitting_net: Field required"),
    "number for a property": (
        ["gap", "fitting_net", "property_name"], 1, "property_name: .* string"
    ),
    "number for a kind": (["gap", "fitting_net", "type"], 1, "net.type: '1' is not"),
    "text for aliases": (["gap", "model_branch_alias"], "E", "alias: .* list"),
    "number for an alias": (["gap", "model_branch_alias"], [1], "alias.0: .* string"),
}  # fmt: skip
"""Where something is put into a checkpoint's heads, what, and what is said of it."""


@pytest.fixture(params=FAULTS)
def faulty(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path
) -> tuple[Path, str]:
    places, value, message = FAULTS[request.param]
    state = read_state(checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    target, places = state["_extra_state"]["model_params"], ["model_dict", *places]
    for place in places[:-1]:
        target = target[place]
    if value is REMOVED:
        del target[places[-1]]
    else:
        target[places[-1]] = value
    path = tmp_path / "faulty.pt"
    path.write_bytes(save_state(state))
    return path, message


def test_every_reader_names_the_file_and_the_fault(faulty: tuple[Path, str]) -> None:
    path, message = faulty
    readers = read_state, read_checkpoint, load_model, load_network, load_pretrained
    for reader in readers:
        with pytest.raises(ModelFileError, match=message) as caught:
            reader(path)
        assert str(caught.value).startswith(f"{path} is not a deepmd-kit model: ")
    result = CliRunner().invoke(main, ["models", "show", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path} is not a deepmd-kit model: ")


def test_place_in_a_checkpoint_of_one_head(
    single_task_checkpoint: bytes, tmp_path: Path
) -> None:
    state = read_state(single_task_checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    del state["_extra_state"]["model_params"]["type_map"]
    path = tmp_path / "faulty.pt"
    path.write_bytes(save_state(state))
    with pytest.raises(ModelFileError) as caught:
        read_state(path)
    expected = f"{path} is not a deepmd-kit model: Default.type_map: Field required"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("key", "value"), [(3, torch.zeros(1)), ("model.gap.x", 3)])
def test_weights_are_tensors_by_name(
    checkpoint: Path, tmp_path: Path, key: object, value: object
) -> None:
    path = tmp_path / "faulty.pt"
    torch.save({"model": {**read_state(checkpoint), key: value}}, path)
    with pytest.raises(ModelFileError, match="tensors by name are expected") as caught:
        load_model(path, energy_head="oxides")
    assert f"{path} is not a deepmd-kit model: {key!r} is a" in str(caught.value)


def test_fault_inside_a_model_file_is_reported_with_its_path(tiny_model: Path) -> None:
    from mftscreen.model.files.bundle import read_bundle, write_bundle

    bundle = read_bundle(tiny_model)
    state = read_state(bundle.checkpoint)
    state["_extra_state"] = {"model_params": {"model_dict": []}}
    path = tiny_model.with_name("faulty.mft")
    write_bundle(path, bundle.card, save_state(state), bundle.reference)
    with pytest.raises(ModelFileError, match=r"faulty\.mft is not a deepmd-kit model"):
        load_model(path)


@pytest.mark.parametrize(
    "change", [{"activation_function": 5}, {"repflow": {"e_sel": 1, "a_sel": 2}}]
)
def test_what_deepmd_cannot_rebuild_is_a_model_file_error(
    checkpoint: Path, change: dict[str, Any]
) -> None:
    state = read_state(checkpoint)
    state["_extra_state"] = copy.deepcopy(state["_extra_state"])
    model_parameters(state)["gap"]["descriptor"].update(change)
    with pytest.raises(ModelFileError, match="head 'gap' cannot be rebuilt"):
        DeepmdNetwork(state)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a file, but a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html>\n<html>",
        b"energies of alloys",
        b"",
        pickle.dumps({"model": {}}, protocol=2),
    ],
)
def test_what_torch_has_not_written(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["models", "show", str(path)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {path} is not a deepmd-kit PyTorch checkpoint: "
        "not a file that torch.save has written\n"
    )


@pytest.fixture
def legacy(checkpoint: Path) -> bytes:
    """The checkpoint as torch wrote it before 1.6: pickles, then the numbers."""
    stream = io.BytesIO()
    torch.save(
        {"model": read_state(checkpoint)}, stream, _use_new_zipfile_serialization=False
    )
    return stream.getvalue()


def test_old_format_is_read(legacy: bytes, checkpoint: Path) -> None:
    assert read_state(legacy).keys() == read_state(checkpoint).keys()


def test_old_format_is_refused_wherever_it_ends(legacy: bytes) -> None:
    reasons = set()
    for size in [*range(400), *range(400, len(legacy), len(legacy) // 200)]:
        with pytest.raises(ModelFileError) as caught:
            read_state(legacy[:size])
        reason = str(caught.value).partition("PyTorch checkpoint: ")[2]
        reasons.add(re.sub(r"\d+", "N", reason))
    assert reasons == {
        "not a file that torch.save has written",
        "it is damaged, or holds more than tensors and plain containers",
        "unexpected EOF, expected N more bytes. The file might be corrupted.",
    }


def test_old_format_whose_numbers_have_another_name() -> None:
    stream = io.BytesIO()
    state = {"model": {"model.gap.x": torch.zeros(3)}}
    torch.save(state, stream, _use_new_zipfile_serialization=False)
    content = stream.getvalue()
    name = re.findall(rb"\d{6,}", content)[-1]  # of the storage, before the numbers
    before, _, after = content.rpartition(name)
    with pytest.raises(ModelFileError, match="checkpoint: it is damaged") as caught:
        read_state(before + b"0" * len(name) + after)
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("zipped", [True, False])
def test_file_of_torch_with_code_in_it(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({"model": print}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match="holds more than tensors"):
        read_state(path)


@pytest.mark.parametrize("names", [["DATA.PKL"], ["data.pkl", "data.PKL"]])
def test_pickles_are_found_as_torch_finds_them(names: list[str]) -> None:
    depth = 60  # a key whose hash takes as many steps as two to this power
    pickle = b"\x80\x02)q\x00"
    for k in range(depth):
        pickle += bytes([*b"h", k, *b"h", k, *b"\x86q", k + 1])
    pickle += bytes([*b"}h", depth, *b"K\x01s."])
    plain, hostile = io.BytesIO(), io.BytesIO()
    torch.save({"a": 1}, plain)
    with zipfile.ZipFile(plain) as given, zipfile.ZipFile(hostile, "w") as made:
        for info in given.infolist():
            if not info.filename.endswith("data.pkl"):
                made.writestr(zipfile.ZipInfo(info.filename), given.read(info))
                continue
            for name in names:
                place = info.filename.replace("data.pkl", name)
                made.writestr(zipfile.ZipInfo(place), pickle)
    with pytest.raises(ModelFileError, match="checkpoint"):
        read_state(hostile.getvalue())
