"""From a conversation to token ids and the mask of what is trained (requirement M2: loss on response tokens only).

The mask comes from rendering the conversation prefix by prefix with the model's own chat template and mapping the
characters of the responses to token offsets. The end-of-turn mark is trained, white space after it is not. A template whose
rendering of the first turns changes when later turns are added is refused: its masks would be wrong without notice. Control tokens
that a text spells out are broken up first, so that only the template opens and ends turns.

What belongs here: plain functions over a tokenizer that the caller loaded. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resources.errors import Explained
from resources.prompting.control_tokens import break_control_tokens

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


class TemplateError(Explained):
    """A chat template or conversation from which no exact mask can be made."""


class Encoded(NamedTuple):
    """`input_ids` of the whole sample; `trained` are the half-open token ranges that carry loss."""

    input_ids: list[int]
    trained: list[tuple[int, int]]


def render(
    tokenizer: Any, conversation: Sequence[Mapping[str, str]], template_arguments: Mapping[str, Any] | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """The conversation as the model's template writes it, and the character span of every response in it.

    Args:
        conversation: ShareGPT turns, `{"from": human|gpt|system, "value": text}`.
        template_arguments: what the template is rendered with besides the turns (`Model.chat_template_arguments`).

    Raises:
        TemplateError: the template is not prefix-preserving, or a turn has an unknown role.
    """
    messages, marks = [], _special_tokens(tokenizer)
    for turn in conversation:
        if turn["from"] not in ROLES:
            raise TemplateError(f"a conversation turn has the role `{turn['from']}`; use human, gpt or system")
        messages.append({"role": ROLES[turn["from"]], "content": break_control_tokens(turn["value"], marks)})

    def rendered(turns: list[dict[str, str]], prompt: bool) -> str:
        arguments = dict(template_arguments or {})
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt, **arguments)

    whole = rendered(messages, False)
    spans = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = rendered(messages[:i], True)
        through = rendered(messages[: i + 1], False).rstrip()
        said = message["content"].strip()
        if not (through.startswith(before) and whole.startswith(through) and said in through[len(before) :]):
            raise TemplateError(
                f"the chat template is not prefix-preserving (turn {i + 1} renders differently once it is answered or followed); "
                "train a model whose template is, or with single turns"
            )
        spans.append((len(before), len(through)))
    if not spans:
        raise TemplateError("a conversation has no response to train on; end it with a gpt turn")
    return whole, spans


def _special_tokens(tokenizer: Any) -> list[str]:
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def token_ranges(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The token range of each character span: from the first token that begins in it to the last that ends in it.

    Tokens between the two that have no width of their own (parts of one character) belong to the range.
    """
    ranges = []
    for start, end in spans:
        inside = [i for i, (a, b) in enumerate(offsets) if b > a and start <= a and b <= end]
        if inside:
            ranges.append((inside[0], inside[-1] + 1))
    return ranges


def encode_conversations(
    tokenizer: Any, conversations: Sequence[Sequence[Mapping[str, str]]], template_arguments: Mapping[str, Any] | None = None
) -> list[Encoded]:
    """Token ids and masks of conversations, rendered with `template_arguments`.

    Raises:
        TemplateError: see `render`.
    """
    rendered = [render(tokenizer, c, template_arguments) for c in conversations]
    tokens = tokenizer([text for text, _ in rendered], return_offsets_mapping=True, add_special_tokens=False)
    return [
        Encoded(ids, token_ranges(offsets, spans))
        for ids, offsets, (_, spans) in zip(tokens["input_ids"], tokens["offset_mapping"], rendered, strict=True)
    ]


def encode_continuations(tokenizer: Any, texts: Sequence[str], split_at: Sequence[int]) -> list[Encoded]:
    """Token ids and masks of raw texts (ablation A1): what comes after character `split_at` and the end of text is trained."""
    end = tokenizer.eos_token_id
    if end is None:
        raise TemplateError("the tokenizer has no end-of-text token, which raw continuation trains; set eos_token in its files")
    marks = _special_tokens(tokenizer)
    broken = [break_control_tokens(text, marks) for text in texts]
    splits = [_place_in(b, text, split) for b, text, split in zip(broken, texts, split_at, strict=True)]
    tokens = tokenizer(broken, return_offsets_mapping=True, add_special_tokens=True)
    encoded = []
    for ids, offsets, text, split in zip(tokens["input_ids"], tokens["offset_mapping"], broken, splits, strict=True):
        if ids and ids[-1] == end:  # some tokenizers close the text themselves
            ids, offsets = ids[:-1], offsets[:-1]
        ranges = token_ranges(offsets, [(split, len(text))])
        encoded.append(Encoded([*ids, end], [(ranges[0][0] if ranges else len(ids), len(ids) + 1)]))
    return encoded


def _place_in(broken: str, text: str, place: int) -> int:
    """Where a place of the text lies in what `break_control_tokens` made of it, which has more blanks."""
    if broken == text:
        return place
    moved = 0
    for char in text[:place]:
        while broken[moved] != char:
            moved += 1
        moved += 1
    return moved
