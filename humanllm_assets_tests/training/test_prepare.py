"""What is tried before samples are encoded."""

from __future__ import annotations

from typing import Any

from humanllm_assets.training.prepare import find_template_faults
from humanllm_assets_tests.training.quirky_tokenizers import BARE, THINKING, build_tokenizer


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
