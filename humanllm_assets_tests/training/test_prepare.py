"""What is tried before samples are encoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from humanllm_assets.training.prepare import encode_samples, find_template_faults
from humanllm_assets_tests.training.quirky_tokenizers import BARE, THINKING, build_tokenizer
from resources.profile import Hyperparameters, Launch, Recipe
from resources.training import Work, prepare_work


def settings(**changed: Any) -> dict[str, Any]:
    return {"objective": "sft", "template_arguments": {}, "template_date": "2024-07-26", **changed}


def test_what_is_wrong_with_a_template_is_said_before_any_sample_is_encoded(tokenizer):
    assert (
        find_template_faults(tokenizer, settings())
        == find_template_faults(tokenizer, settings(objective="raw_continuation"))
        == []
    )
    thinking = build_tokenizer(THINKING, ["<|im_start|>", "<|im_end|>"])
    assert find_template_faults(thinking, settings(template_arguments={"enable_thinking": False})) == []
    unknown, bare = find_template_faults(
        build_tokenizer(BARE, ["<|end|>"]), settings(template_arguments={"enable_thinking": False})
    )
    assert "`chat_template_arguments.enable_thinking` has no effect" in unknown and "nothing that ends a response" in bare
    untemplated = build_tokenizer("", ["<|end|>"])
    untemplated.chat_template = None
    assert "has no chat template" in find_template_faults(untemplated, settings())[0]


def encode(folder: Path, models: Path, tokenizer: Any, **settings: Any) -> tuple[Work, dict[str, int], dict[str, str]]:
    """A work folder of 600 samples with its encoded ones (id and tokens) and those left out (id and reason)."""
    turns = [[{"from": "human", "value": f"Train {i}?"}, {"from": "gpt", "value": "late " * (1 + i % 9)}] for i in range(600)]
    samples = folder / "samples.parquet"
    pq.write_table(
        pa.table({"sample_id": [f"s{i:03}" for i in range(600)], "conversations": list(map(json.dumps, turns))}), samples
    )
    hyper = Hyperparameters(batch_size=4, epochs=2, max_length=256, warmup_ratio=0)
    recipe = Recipe(base_model="m", hyperparameters=hyper, **settings)
    launch = Launch(cpu=True)
    work = prepare_work(folder / "work", samples=samples, base_model=models / "base", recipe=recipe, launch=launch, module="m")
    encode_samples(work, tokenizer)
    with pa.memory_map(str(work.encoded)) as source:
        kept = {row["sample_id"]: row["n_tokens"] for row in pa.ipc.open_file(source).read_all().to_pylist()}
    return work, kept, {row["sample_id"]: row["reason"] for row in pq.read_table(work.dropped).to_pylist()}


def test_samples_are_left_out_until_all_epochs_together_have_no_more_tokens_than_allowed(models, tokenizer, tmp_path):
    for name in ("all", "some", "fewer"):
        (tmp_path / name).mkdir()
    work, everything, none = encode(tmp_path / "all", models, tokenizer)
    total = sum(everything.values())
    cut, some, left_out = encode(tmp_path / "some", models, tokenizer, max_tokens=total)
    _, fewer, _ = encode(tmp_path / "fewer", models, tokenizer, max_tokens=total // 2)
    longest = max(everything.values())
    assert not none and total - 2 * longest < 2 * sum(some.values()) <= total
    assert {**some, **{s: everything[s] for s in left_out}} == everything and set(left_out.values()) == {"over_max_tokens"}
    assert fewer.keys() < some.keys()  # a smaller training is part of a larger one
    assert cut.settings()["key"] != work.settings()["key"]
