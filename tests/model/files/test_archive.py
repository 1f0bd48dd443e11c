"""Archives that are damaged, or were made to harm, end in typed errors."""

import io
import os
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mftscreen.errors import ModelFileError
from mftscreen.model.files.archive import parse_arrays, read_file, stored_members


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def array(header: bytes, body: bytes = b"") -> bytes:
    header += b" " * max(0, 117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def header(descr: str, shape: str) -> bytes:
    return (
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    ).encode()


BAD_HEADERS = {
    "80 TB": array(header("'<f8'", "(10000000000000,)")),
    "more than there is": array(header("'<f8'", "(3,)"), b"\0" * 16),
    "less than there is": array(header("'<f8'", "(3,)"), b"\0" * 32),
    "negative": array(header("'<f8'", "(-1,)")),
    "overflow": array(header("'<f8'", "(" + "4294967296, " * 4 + ")")),
    "objects": array(header("'|O'", "(1,)"), b"\x80\x04N."),
    "fields of objects": array(header("[('a', '|O')]", "(1,)"), b"\0" * 8),
    "parentheses": array(b"(" * 5000),
    "nested": array(b"[" * 9000 + b"]" * 900),
    "code": array(b"__import__('os').system('true')"),
    "no magic": b"text",
    "format of the future": b"\x93NUMPY\x09\x00" + b"\0" * 100,
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_header_of_an_array(name: str) -> None:
    with pytest.raises(ModelFileError):
        parse_arrays(zipped({"x.npy": BAD_HEADERS[name]}))


def test_archive_that_unpacks_to_far_more_is_not_unpacked() -> None:
    content = zipped({"x.npy": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match=r"bytes hold 50000000"):
        parse_arrays(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@given(
    arrays.arrays(
        st.sampled_from(["<f4", "<f8", "<i4", "|b1", "<U5"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_arrays_come_back_as_they_were(values: np.ndarray) -> None:
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **{"a/b": values})
        (found,) = parse_arrays(buffer.getvalue()).items()
        assert found[0] == "a/b"
        assert found[1].dtype == values.dtype
        np.testing.assert_array_equal(found[1], values)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_members_are_not_compressed(compression: int) -> None:
    with pytest.raises(ModelFileError, match="a is compressed"):
        stored_members(zipped({"a": b"1" * 100}, compression))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_are_distinct() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(ModelFileError, match="one name"):
        stored_members(buffer.getvalue())


def test_member_that_claims_more_than_the_archive_has() -> None:
    content = bytearray(zipped({"a": b"1" * 10}))
    for position in range(len(content) - 4):
        if content[position : position + 4] == struct.pack("<I", 10):
            content[position : position + 4] = struct.pack("<I", 1 << 30)
    with pytest.raises(ModelFileError):
        stored_members(bytes(content))


@given(st.binary(max_size=200))
def test_anything_else_is_no_archive(content: bytes) -> None:
    for read in (stored_members, parse_arrays):
        with pytest.raises(ModelFileError):
            read(content)


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mft"
    os.mkfifo(pipe)
    for path, reason in [
        (pipe, "not a file"),
        (Path("/dev/zero"), "not a file"),
        (tmp_path, "but a folder"),
        (tmp_path / "none", "no such file"),
        (tmp_path / ("x" * 300), "name too long"),
        (tmp_path / "a\0b", "null"),
    ]:
        with pytest.raises(ModelFileError, match=reason):
            read_file(path)
