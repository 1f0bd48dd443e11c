"""What a training depends on, as a hash that is the same in another folder."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from mftscreen.errors import DataError
from mftscreen.finetune.strategies import DownstreamConfig
from mftscreen.model.files.registry import registered_models

__all__ = ["file_digest", "fingerprint"]

_LARGE = 1 << 28
"""Bytes of a file from which on its size stands for what is in it."""
_MODELS = (".mft", ".pt")


def fingerprint(config: DownstreamConfig, collapse_report: bool = False) -> str:
    """Return the sha256 of a configuration and of the files that it names.

    Parameters
    ----------
    config : DownstreamConfig
        Keys with their default value do not count, so that one that comes with a later
        version changes nothing.
    collapse_report : bool, default False
        Whether the result has the numbers of one.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    document = _with_digests(config.model_dump(exclude_defaults=True))
    if named := document.get("pretrained"):
        known = {name: model.sha256 for name, model in registered_models().items()}
        single = isinstance(named, str)
        found = [known.get(name, name) for name in ([named] if single else named)]
        document["pretrained"] = found[0] if single else found
    if collapse_report:
        document["collapse_report"] = True
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def file_digest(path: Path) -> str:
    """Return what is in a file, once for each process.

    Parameters
    ----------
    path : Path
        A folder stands for its files; a large file, of 256 MiB and more, for its size.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return _digest(path)
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise DataError(msg, path=path) from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                name = file.relative_to(path).as_posix()
                digest.update(f"{name} {_digest(file)}\n".encode())
    elif path.stat().st_size >= _LARGE:
        digest.update(f"{path.stat().st_size} bytes".encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _with_digests(value: Any) -> Any:
    """Return settings with the content of files in place of their paths."""
    if isinstance(value, dict):
        own = {key: _with_digests(item) for key, item in value.items()}
        if "pretrained" in own:
            own["pretrained"] = _models_with_digests(own["pretrained"])
        return own
    if isinstance(value, list | tuple):
        return [_with_digests(item) for item in value]
    return file_digest(value) if isinstance(value, Path) else value


def _models_with_digests(value: Any) -> Any:
    if isinstance(value, list):
        return [_models_with_digests(item) for item in value]
    is_file = isinstance(value, str) and value.endswith(_MODELS)
    return file_digest(Path(value)) if is_file else value
