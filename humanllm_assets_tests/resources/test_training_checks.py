"""A recipe against reality before the first step: every mismatch is found, with its remedy."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from resources import training_checks
from resources.profile import Hyperparameters, Launch
from resources.thresholds import Failures
from resources.training_checks import (
    count_weights,
    find_disk_faults,
    find_encoding_faults,
    find_launch_faults,
    find_model_faults,
)

HYPER = Hyperparameters()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model in two files of 10 and 6 weights, with an index."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    for n, shape in ((1, (5, 2)), (2, (6,))):
        save_file({f"w{n}": np.zeros(shape, np.float32)}, str(folder / f"model-0000{n}-of-00002.safetensors"))
    index = {"weight_map": {f"w{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_all_that_is_wrong_with_a_launch_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    batch, devices = find_launch_faults(HYPER, Launch(processes=3))
    assert "a batch of 64 can't be divided into 3 processes" in batch
    assert "3 training processes need a GPU each, but 2 are visible (0, 1)" in devices
    assert find_launch_faults(HYPER, Launch(processes=2)) == find_launch_faults(HYPER, Launch(processes=8, cpu=True)) == []


def test_a_whole_model_has_no_faults(base):
    assert find_model_faults(base) == [] and count_weights(base) == 16


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("damage", ["gone", "cut", "pointer", "empty"])
def test_a_weight_file_that_is_not_whole_is_named(base, indexed, damage):
    if not indexed:
        (base / "model.safetensors.index.json").unlink()
    path = base / "model-00002-of-00002.safetensors"
    whole = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"cut": whole[:-1], "pointer": b"version https://git-lfs", "empty": b""}[damage])
    (fault,) = find_model_faults(base)
    assert fault.startswith("model-00002-of-00002.safetensors of the base model") and fault.endswith("download it again")


def test_a_tensor_that_the_index_names_elsewhere_and_a_missing_tokenizer_are_named(base):
    (base / "tokenizer.json").unlink()
    save_file({"other": np.zeros(1, np.float32)}, str(base / "model-00002-of-00002.safetensors"))
    tokenizer, tensor = find_model_faults(base)
    assert "has no tokenizer.json" in tokenizer and "lacks the tensor w2 that its index names" in tensor


def test_files_beside_those_of_the_index_are_not_looked_at(base):
    (base / "consolidated.safetensors").write_bytes(b"cut off")
    assert find_model_faults(base) == []


@pytest.mark.parametrize(
    ("save_steps", "free_gb", "enough"), [(10, 55, True), (10, 50, False), (1000, 6, True), (1000, 3, False)]
)
def test_room_for_checkpoints_and_model_is_asked_for_before_the_first_step(monkeypatch, tmp_path, save_steps, free_gb, enough):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(training_checks.shutil, "disk_usage", lambda _: usage(0, 0, free_gb * 1e9))
    launch = Launch(save_steps=save_steps)
    faults = find_disk_faults(tmp_path, 1_000_000_000, 100, HYPER, launch)
    assert not faults if enough else f"has {free_gb}.0 GB free" in faults[0]


@pytest.mark.parametrize(
    ("dropped", "share_error", "steps", "message"),
    [
        ({"too_long": 20}, 0.0, 1, "none of 20 samples is left to train on (20 too_long)"),
        ({"no_end_of_turn": 2, "held_out": 3}, 0.0, 9, "10.0% of 20 samples can't be trained on (3 held_out, 2 no_end_of_turn)"),
        ({"too_long": 2}, 0.056, 9, "differ from the recipe's by up to 5.6% once unusable samples are left out (2 too_long)"),
        ({}, 0.0, 1, "all of 1 steps would be warm-up"),
        ({"too_long": 9, "held_out": 1}, 0.02, 2, None),
    ],
)
def test_what_the_encoded_samples_show_stops_a_run_before_its_first_step(dropped, share_error, steps, message):
    found = find_encoding_faults(20, dropped, share_error, steps, HYPER, Failures())
    assert found == [] if message is None else len(found) == 1 and message in found[0]
