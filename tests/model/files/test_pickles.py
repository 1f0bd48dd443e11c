from __future__ import annotations

import io
import pickle
from collections import Counter, OrderedDict

import pytest

from mftscreen.errors import ModelFileError
from mftscreen.model.files import pickles
from mftscreen.model.files.pickles import check_pickle
from mftscreen.model.files.reading import read_state

LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    pickle.dumps(1001, protocol=2),
    pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2),
)


def doubling(n: int) -> bytes:
    """Return the pickle of a dictionary whose key is a tuple of 2^n empty tuples."""
    return b"\x80\x02})q\x00" + n * b"h\x00\x86q\x00" + b"K\x01s."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sound_pickles_pass_and_are_read_to_their_end(protocol: int) -> None:
    shared = ("a", (1, 2))
    tree = {"x": [shared, shared, (), None, 2.5], "y": (1,) * 9, "z": {3, 4}}
    plain = [tree, OrderedDict(a=(1, 2, 3)), Counter("aab"), b"bytes", frozenset([7])]
    assert pickle.loads(doubling(3))
    stream = io.BytesIO(pickle.dumps(plain, protocol=protocol) + doubling(3) + b"rest")
    check_pickle(stream)
    check_pickle(stream)
    assert stream.read() == b"rest"


def test_tuples_that_double_are_refused_before_they_are_loaded() -> None:
    for n in (20, 60):  # the latter would take a thousand years
        with pytest.raises(ModelFileError, match="others too often"):
            check_pickle(io.BytesIO(doubling(n)))
    old = b"".join((*LEGACY, doubling(60), pickle.dumps([], protocol=2)))
    with pytest.raises(ModelFileError, match="others too often"):
        read_state(old)


def test_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_STEPS", 100)
    check_pickle(io.BytesIO(pickle.dumps(list(range(20)))))
    with pytest.raises(ModelFileError, match="more than 100 steps"):
        check_pickle(io.BytesIO(pickle.dumps(list(range(200)))))


@pytest.mark.parametrize("content", [b"", b"}", b"h\x00.", b"\x86.", b"no pickle"])
def test_what_is_no_pickle(content: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        check_pickle(io.BytesIO(content))
