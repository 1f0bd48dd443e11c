from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import ModelFileError
from mftscreen.model.files.bundle import (
    FORMAT_VERSION,
    DescriptorCard,
    ModelCard,
    PropertyHead,
    read_bundle,
    write_bundle,
)
from mftscreen.properties import PropertySpec

CHECKPOINT = bytes(range(256)) * 20
REFERENCE = {
    "data": np.linspace(0.0, 1.0, 7),
    "indices": np.arange(12, dtype=np.int32).reshape(3, 4),
    "ids": np.array(["mp-1", "mp-22"]),
}
CALIBRATION = {"residuals": np.array([-0.5, 0.25])}
NEWER = rf"has format {FORMAT_VERSION + 1}.*pip install -U"


@pytest.fixture
def card() -> ModelCard:
    head = PropertyHead(
        spec=PropertySpec(name="gap", label="band gap", unit="eV"),
        head="gap_head",
        elements=["Si", "O"],
        n_train=10,
        train_range=(0.0, 9.5),
        training_set="made up",
        training_hash="abc",
        metrics={"fold 0 test": {"mae": 0.3}},
    )
    return ModelCard(
        name="tiny",
        description="a model for ångströms",
        strategy="mft",
        energy_head="oxides",
        properties={"gap": head},
        force_field={"oxides": {"data": "made up", "force_mae": 0.1}},
        versions={"mftscreen": "0.1.0"},
        provenance={"seed": 1, "config": {"steps": [1, 2]}},
    )


@pytest.fixture
def model_file(tmp_path: Path, card: ModelCard) -> Path:
    path = tmp_path / "tiny.mft"
    write_bundle(path, card, CHECKPOINT, REFERENCE, CALIBRATION)
    return path


def rewrite(path: Path, **members: bytes | None) -> None:
    """Replace members of a model file; None removes one."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents.update({k.replace("__", "."): v for k, v in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def edit_card(path: Path, **changes: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        document = json.loads(archive.read("card.json"))
    rewrite(path, card__json=json.dumps({**document, **changes}).encode())


def test_round_trip(model_file: Path, card: ModelCard) -> None:
    bundle = read_bundle(model_file)
    digest = hashlib.sha256(CHECKPOINT).hexdigest()
    assert bundle.card == card.model_copy(update={"checkpoint_sha256": digest})
    assert bundle.checkpoint == CHECKPOINT
    assert bundle.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    for found, written in (
        (bundle.reference, REFERENCE),
        (bundle.calibration, CALIBRATION),
    ):
        assert found.keys() == written.keys()
        for key, array in written.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == array.dtype


def test_arrays_are_optional(tmp_path: Path, card: ModelCard) -> None:
    path = tmp_path / "small.mft"
    write_bundle(path, card, CHECKPOINT)
    bundle = read_bundle(path)
    assert (dict(bundle.reference), dict(bundle.calibration)) == ({}, {})
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["card.json", "model.pt"]


def test_rewritten_file_is_byte_identical(model_file: Path, tmp_path: Path) -> None:
    bundle = read_bundle(model_file)
    again = tmp_path / "again.mft"
    write_bundle(
        again, bundle.card, bundle.checkpoint, bundle.reference, bundle.calibration
    )
    assert again.read_bytes() == model_file.read_bytes()


def test_members_are_stored_without_a_date(model_file: Path) -> None:
    with zipfile.ZipFile(model_file) as archive:
        members = archive.infolist()
        with zipfile.ZipFile(io.BytesIO(archive.read("reference.npz"))) as arrays:
            inner = arrays.infolist()
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {m.date_time for m in [*members, *inner]} == {(1980, 1, 1, 0, 0, 0)}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.mft: no such file"):
        read_bundle(tmp_path / "none.mft")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_file_is_refused(model_file: Path, share: float) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"not a complete \.mft model file"):
        read_bundle(model_file)


def test_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mft").write_text("name: tiny\n")
    with pytest.raises(ModelFileError, match=r"not a complete \.mft model file"):
        read_bundle(tmp_path / "text.mft")
    with pytest.raises(ModelFileError, match="not a file, but a folder"):
        read_bundle(tmp_path)


def test_flipped_bit_in_the_weights_is_refused(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    content[content.index(CHECKPOINT) + 100] ^= 1
    model_file.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.pt"):
        read_bundle(model_file)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"setup__py": b"print()"}, r"it holds \['setup.py'\]"),
        ({"..__card.json": b"{}"}, "it holds"),
        ({"model__pt": None}, r"it lacks \['model.pt'\]"),
        ({"card__json": None}, r"it lacks \['card.json'\]"),
    ],
)
def test_foreign_and_missing_members_are_refused(
    model_file: Path, members: dict[str, bytes | None], message: str
) -> None:
    rewrite(model_file, **members)
    with pytest.raises(ModelFileError, match=message):
        read_bundle(model_file)


def test_card_of_another_checkpoint_is_refused(model_file: Path) -> None:
    rewrite(model_file, model__pt=b"other weights")
    with pytest.raises(ModelFileError, match=r"not the checkpoint that card\.json"):
        read_bundle(model_file)
    edit_card(model_file, checkpoint_sha256="", format_version=1)  # as files once were
    assert read_bundle(model_file).checkpoint == b"other weights"


def test_card_of_many_bytes_is_refused(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mftscreen.model.files.bundle.MAX_CARD_BYTES", 100)
    with pytest.raises(ModelFileError, match=r"card\.json has \d+ bytes"):
        read_bundle(model_file)


def test_newer_format_asks_for_an_upgrade(model_file: Path) -> None:
    edit_card(model_file, format_version=FORMAT_VERSION + 1)
    with pytest.raises(ModelFileError, match=NEWER):
        read_bundle(model_file)


def test_newer_format_with_new_members_asks_for_an_upgrade(model_file: Path) -> None:
    edit_card(model_file, format_version=FORMAT_VERSION + 1)
    rewrite(model_file, weights__bin=b"of some kind")
    with pytest.raises(ModelFileError, match=NEWER):
        read_bundle(model_file)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION))
def test_older_formats_are_read(
    model_file: Path, card: ModelCard, version: int
) -> None:
    with zipfile.ZipFile(model_file) as archive:
        document = json.loads(archive.read("card.json"))
    del document["descriptors"]
    document["format_version"] = version
    rewrite(model_file, card__json=json.dumps(document).encode())
    bundle = read_bundle(model_file)
    assert bundle.card.properties == card.properties
    assert (bundle.card.descriptors, dict(bundle.further)) == ([], {})


def test_newer_format_with_new_keys_asks_for_an_upgrade(model_file: Path) -> None:
    edit_card(model_file, format_version=FORMAT_VERSION + 1, new_key=[1])
    with pytest.raises(ModelFileError, match=NEWER):
        read_bundle(model_file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "card.json is not valid: name"),
        ({"colour": "red"}, "card.json is not valid: colour"),
        ({"properties": {"gap": {"head": "x"}}}, "not valid: properties.gap.spec"),
    ],
)
def test_invalid_card_names_the_key(
    model_file: Path, changes: dict[str, Any], message: str
) -> None:
    edit_card(model_file, **changes)
    with pytest.raises(ModelFileError, match=message):
        read_bundle(model_file)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 200_000, b"9" * 5_000]
)
def test_card_that_is_no_json_mapping_is_refused(
    model_file: Path, content: bytes
) -> None:
    rewrite(model_file, card__json=content)
    with pytest.raises(ModelFileError, match=r"card\.json is not valid"):
        read_bundle(model_file)


def saved(save: Any, *args: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *args, **kwargs)
    return buffer.getvalue()


def damaged_deflate_stream() -> bytes:
    content = bytearray(saved(np.savez_compressed, data=np.arange(1000)))
    start = content.index(b"data.npy") + 40
    content[start : start + 30] = b"\xff" * 30
    return bytes(content)


BAD_ARRAYS = {
    "empty": b"",
    "text": b"no arrays",
    "truncated": saved(np.savez, data=np.arange(100))[:-30],
    "damaged deflate stream": damaged_deflate_stream(),
    "one array": saved(np.save, np.arange(3)),
    "objects": saved(np.savez, data=np.array([{}, []], dtype=object)),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
@pytest.mark.parametrize("member", ["reference", "calibration"])
def test_bad_arrays_are_refused(model_file: Path, name: str, member: str) -> None:
    rewrite(model_file, **{f"{member}__npz": BAD_ARRAYS[name]})
    with pytest.raises(ModelFileError, match=f"{member}.npz is damaged"):
        read_bundle(model_file)


def test_arrays_of_objects_are_not_written(tmp_path: Path, card: ModelCard) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_bundle(
            tmp_path / "x.mft", card, CHECKPOINT, {"data": np.array([{}], dtype=object)}
        )
    assert not list(tmp_path.iterdir())


def test_failing_write_leaves_the_old_file_alone(
    model_file: Path, card: ModelCard
) -> None:
    before = model_file.read_bytes()
    with pytest.raises(TypeError):
        write_bundle(model_file, card, checkpoint=None)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]


def test_existing_file_is_replaced(model_file: Path, card: ModelCard) -> None:
    write_bundle(model_file, card, b"new weights")
    assert read_bundle(model_file).checkpoint == b"new weights"
    assert list(model_file.parent.iterdir()) == [model_file]


OTHERS = [b"descriptor of another model", b"and of a third"]


@pytest.fixture
def wide_file(tmp_path: Path, card: ModelCard) -> Path:
    """A model with three descriptors side by side."""
    named = [DescriptorCard(name=n, sha256="0", licence="MIT") for n in "abc"]
    path = tmp_path / "wide.mft"
    wide = card.model_copy(update={"descriptors": named})
    write_bundle(path, wide, CHECKPOINT, further=OTHERS)
    return path


def test_descriptors_side_by_side_come_back(wide_file: Path) -> None:
    bundle = read_bundle(wide_file)
    assert list(bundle.further) == ["descriptor-2.pt", "descriptor-3.pt"]
    assert list(bundle.further.values()) == OTHERS
    digests = [hashlib.sha256(own).hexdigest() for own in (CHECKPOINT, *OTHERS)]
    assert [d.checkpoint_sha256 for d in bundle.card.descriptors] == digests
    assert [d.name for d in bundle.card.descriptors] == ["a", "b", "c"]
    assert bundle.card.checkpoint_sha256 == digests[0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"descriptor-3__pt": None}, r"it lacks \['descriptor-3.pt'\]"),
        ({"descriptor-4__pt": b"x"}, r"it holds \['descriptor-4.pt'\]"),
        ({"descriptor-2__pt": b"x"}, r"descriptor-2.pt is not the checkpoint that"),
        ({"model__pt": b"x"}, r"model.pt is not the checkpoint that card\.json"),
    ],
)
def test_descriptors_are_those_of_the_card(
    wide_file: Path, members: dict[str, bytes | None], message: str
) -> None:
    rewrite(wide_file, **members)
    with pytest.raises(ModelFileError, match=message):
        read_bundle(wide_file)


@pytest.mark.parametrize(("place", "name"), [(0, "model"), (1, "descriptor-2")])
def test_no_descriptor_goes_without_its_sha256(
    wide_file: Path, place: int, name: str
) -> None:
    with zipfile.ZipFile(wide_file) as archive:
        described = json.loads(archive.read("card.json"))["descriptors"]
    del described[place]["checkpoint_sha256"]
    edit_card(wide_file, descriptors=described)
    with pytest.raises(ModelFileError, match=rf"{name}\.pt is not the checkpoint"):
        read_bundle(wide_file)


def test_a_card_of_more_descriptors_than_a_model_has_is_refused(
    wide_file: Path, tmp_path: Path, card: ModelCard
) -> None:
    edit_card(wide_file, descriptors=[{"name": "a", "sha256": "0"}] * 9)
    with pytest.raises(ModelFileError, match=r"not valid: descriptors: .* at most 8"):
        read_bundle(wide_file)
    with pytest.raises(ValueError, match="zip"):
        write_bundle(tmp_path / "x.mft", card, CHECKPOINT, further=OTHERS)
    assert not (tmp_path / "x.mft").exists()


def test_a_property_is_called_by_its_name(model_file: Path, card: ModelCard) -> None:
    heads = json.loads(card.model_dump_json())["properties"]
    renamed = {f"{name}_too": head for name, head in heads.items()}
    edit_card(model_file, properties=renamed)
    with pytest.raises(ModelFileError, match="stands for a property called"):
        read_bundle(model_file)
