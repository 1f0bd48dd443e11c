"""JSON read piece by piece."""

from __future__ import annotations

import json
from io import StringIO

import pytest

from mftscreen.data.readers.json_stream import JsonStream


def test_values_across_the_windows_of_the_stream() -> None:
    values = [{"a": [k, -1.5e-7, None, True], "t": 'x"\\\n' * k} for k in range(90)]
    text = json.dumps({"long": "y" * 1_000_000, "data": [*values, 12345]})

    class Dripping(StringIO):
        def read(self, size: int = -1) -> str:
            return super().read(7 if self.tell() > 1_000_000 else size)

    stream = JsonStream(Dripping(text))
    keys = stream.keys()
    assert (next(keys), len(stream.value())) == ("long", 1_000_000)
    assert next(keys) == "data"
    assert list(stream.items()) == [*values, 12345]
    assert list(keys) == []
    stream.finish()


def test_early_fault_is_found_without_reading_on() -> None:
    text = StringIO('[{"a" 1}, ' + "2," * 5_000_000)
    with pytest.raises(json.JSONDecodeError):
        list(JsonStream(text).items())
    assert text.tell() < 1_000_000
