from __future__ import annotations

from pathlib import Path

import pytest

from mftscreen.errors import DataError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.strategies import KernelConfig
from mftscreen.study.fingerprint import file_digest, fingerprint


def test_files_count_by_what_is_in_them(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text(text)
    same, again, other = (file_digest(tmp_path / name / "rows.csv") for name in "abc")
    assert same == again != other
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "c")
    with pytest.raises(DataError, match="none: cannot be read: No such file"):
        file_digest(tmp_path / "none")


def test_defaults_do_not_count_and_models_do(tiny_task: Path) -> None:
    config = derive_config(load_config(tiny_task), "kernel")
    assert isinstance(config, KernelConfig)
    found = fingerprint(config)
    assert fingerprint(config.model_copy(update={"licence": ""})) == found
    assert fingerprint(config.model_copy(update={"seed": 2})) != found
    moved = tiny_task.with_name("moved.extxyz")
    moved.write_bytes(config.data.train[0].read_bytes())
    data = config.data.model_copy(update={"train": [moved]})
    assert fingerprint(config.model_copy(update={"data": data})) == found
    other = config.model_copy(update={"pretrained": "mft-mini-molecules"})
    assert fingerprint(other) != found
