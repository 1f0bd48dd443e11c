"""A JSON document read value by value, in constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["JsonStream"]

_CHUNK = 1 << 18
_BLANK = re.compile(r"[ \t\n\r\ufeff]*")
_LONGEST_TOKEN = 16
"""No number or literal cut at the end of the text fails farther than this from it."""


class JsonStream:
    """Reader of one JSON document whose outermost arrays and objects are streamed.

    The standard library's decoder takes one value after another out of a window of
    the text. Unlike the streaming parsers built on YAJL it accepts what Python's own
    ``json`` writes, ``NaN`` and ``Infinity`` included.

    Parameters
    ----------
    stream : TextIO

    Examples
    --------
    >>> from io import StringIO
    >>> stream = JsonStream(StringIO('{"n": 2, "data": [{"a": 1}, {"a": NaN}]}'))
    >>> for key in stream.keys():
    ...     print(key, list(stream.items()) if key == "data" else stream.value())
    n 2
    data [{'a': 1}, {'a': nan}]
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that is not blank; "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            assert blank is not None  # it matches nothing, too
            self._at = blank.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read_more()

    def value(self) -> Any:
        """Return the value that begins here, decoded.

        Raises
        ------
        json.JSONDecodeError
            If there is none, or it is malformed.
        """
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or self._is_malformed(error):
                    raise
            else:
                # at the window's end a number may go on
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            self._read_more()

    def items(self) -> Iterator[Any]:
        """Yield the items of the array that begins here."""
        self._expect("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._expect(",]") == "]":
                return

    def keys(self) -> Iterator[str]:
        """Yield the keys of the object that begins here.

        The value of each is to be taken, with :meth:`value`, :meth:`items` or
        :meth:`keys`, before the next key is asked for.
        """
        self._expect("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                self._fail("a key in quotes")
            key: str = self.value()
            self._expect(":")
            yield key
            if self._expect(",}") == "}":
                return

    def finish(self) -> None:
        """Raise if anything follows the document."""
        if self.peek():
            self._fail("nothing more")

    def _expect(self, allowed: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            self._fail(" or ".join(repr(character) for character in allowed))
        self._at += 1
        return found

    def _fail(self, expected: str) -> None:
        found = self._text[self._at : self._at + 20]
        msg = f"expected {expected}, found {found!r}" if found else "ends too early"
        raise json.JSONDecodeError(msg, self._text, self._at)

    def _is_malformed(self, error: json.JSONDecodeError) -> bool:
        """Tell a fault from a value that the window cuts in two."""
        return error.pos < len(self._text) - _LONGEST_TOKEN and not (
            error.msg.startswith("Unterminated string")
        )

    def _read_more(self) -> None:
        rest = self._text[self._at :]
        # at least doubled, so that a long value is not scanned over and over
        chunk = self._stream.read(max(_CHUNK, len(rest)))
        self._ended = not chunk
        self._text, self._at = rest + chunk, 0
