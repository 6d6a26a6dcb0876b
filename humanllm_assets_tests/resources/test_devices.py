"""Which devices a process may use, and whether a model can be divided among those of a server."""

from __future__ import annotations

import json

import pytest

from resources.devices import find_serving_faults, visible_devices
from resources.profile import load_profile


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ("0,1", ["0", "1"]),
        ("GPU-1a2b, GPU-3c4d", ["GPU-1a2b", "GPU-3c4d"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("0,0,1", ["0", "1"]),
    ],
)
def test_visible_devices_are_those_that_cuda_sees(given, devices, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    (tmp_path / "nvidia7").touch()
    assert visible_devices(tmp_path) == devices


def test_without_a_limit_all_devices_of_the_driver_are_visible(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_devices(tmp_path) == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("arguments", "divides"),
    [
        ([], True),
        (["--tensor-parallel-size", "8"], False),
        (["--tensor-parallel-size=8"], False),
        (["--tensor_parallel_size", "8"], False),
        (["-tp", "8"], False),
        (["--tensor-parallel-size", "8", "--tensor-parallel-size", "4"], True),
        (["--tensor-parallel-size", "4"], True),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_servers_size_must_divide_the_heads(arguments, divides, nested, tmp_path):
    heads = {"num_attention_heads": 28, "num_key_value_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": heads} if nested else heads))
    faults = find_serving_faults(tmp_path, arguments)
    assert not faults if divides else "28 attention heads and 4 key-value heads by `--tensor-parallel-size 8`" in faults[0]


@pytest.mark.parametrize("server_args", [["--tensor-parallel-size"], ["-tp", "two"], ["--tensor-parallel-size=0"]])
def test_a_size_that_is_no_number_of_devices_is_a_finding(tmp_path, server_args):
    (tmp_path / "config.json").write_text('{"num_attention_heads": 28}')
    assert "needs a number of devices behind it" in find_serving_faults(tmp_path, server_args)[0]


HEADS = {  # attention heads and key-value heads of the published configurations
    "llama-3.3-70b": (64, 8),
    "qwen2.5-72b": (64, 8),
    "llama-3.1-70b": (64, 8),
    "qwen2.5-3b": (16, 2),
    "qwen2.5-7b": (28, 4),
    "qwen3-8b": (32, 8),
    "phi-3-mini": (32, 32),
    "phi-4": (40, 10),
    "llama-3.1-8b": (32, 8),
    "centaur": (64, 8),
    "be.fm": (32, 8),
}


@pytest.mark.parametrize("key", HEADS)
def test_the_papers_models_can_be_served_as_its_profile_says(key, tmp_path):
    profile = load_profile("paper")
    (tmp_path / "config.json").write_text(
        json.dumps(dict(zip(("num_attention_heads", "num_key_value_heads"), HEADS[key], strict=True)))
    )
    assert find_serving_faults(tmp_path, [*profile.engine.server_args, *profile.models[key].server_args]) == []
    assert {key for key, model in profile.models.items() if not model.endpoints} == HEADS.keys()
