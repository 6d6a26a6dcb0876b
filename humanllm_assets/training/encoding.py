"""From a conversation to token ids and the mask of what is trained (requirement M2: loss on response tokens only).

A chat template is rendered with a mark in the place of every turn's text, so it is known to the character what the template wrote
and what a turn says. A response is trained from the end of the prompt that asks for it to its end-of-turn mark; what a template
writes after that (a line break, an end of text behind the last turn) is not. Text is never read as format: a control token that a
turn spells out is encoded as the characters it consists of. All else is tokenized at once, as a server tokenizes it.

What belongs here: plain functions over a tokenizer that the caller loaded. Nothing heavy is imported.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from humanllm_assets.training.conversations import REMEDY, ROLES, find_irregularity
from resources.errors import Explained
from resources.profile import TEMPLATE_DATE
from resources.prompting.control_tokens import break_control_tokens

_OPEN, _CLOSE = "\ue0ff", "\ue0fe"  # private characters around the number of a turn, in the place of its text
_TURN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")

Offsets = list[tuple[int, int]]
Shape = tuple[tuple[str, str, str], ...]  # of each turn its role, and the white space before and after its text


class TemplateError(Explained):
    """A chat template or conversation from which no exact mask can be made."""


class ConversationError(TemplateError):
    """A conversation that is left out of a training, and counted by `reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Encoded(NamedTuple):
    """`input_ids` of the whole sample; `trained` are the half-open token ranges that carry loss."""

    input_ids: list[int]
    trained: list[tuple[int, int]]


class _Answer(NamedTuple):
    place: int  # of the response's text among the texts, in the template's order
    prompt: int  # characters of the template's piece before it that belong to the prompt
    closing: str  # what the template ends the turn with, up to and with its end-of-turn mark
    mark: str | None  # the control token that `closing` ends with
    apart: bool  # the prompt's tokens are other ones once a response follows, so it must be tokenized by itself


class _Layout(NamedTuple):
    """How a template writes conversations of one shape: `pieces[0]`, the text of turn `order[0]`, `pieces[1]` and so on."""

    pieces: list[str]
    order: list[int]
    answers: list[_Answer]
    controls: int  # control tokens that the template writes


class _Text(NamedTuple):
    text: str
    spans: list[tuple[int, int]]  # characters of each response, with its end-of-turn mark
    cuts: list[int]  # places over which no token may stretch
    layout: _Layout


class Encoder:
    """Encodes conversations with one tokenizer; its template is rendered once per shape of conversation.

    Args:
        template_arguments: what the template is rendered with besides the turns (`Model.chat_template_arguments`).
        today: the day given to a template that writes the date, so that tokens do not depend on the day of the run.
    """

    def __init__(self, tokenizer: Any, template_arguments: Mapping[str, Any] | None = None, today: date = TEMPLATE_DATE) -> None:
        self._tokenizer = tokenizer
        self._arguments = {"strftime_now": today.strftime, **(template_arguments or {})}
        self._layouts: dict[Shape, _Layout] = {}
        self._controls = _control_tokens(tokenizer)
        self._spelled = _pattern(self._controls.values())

    def try_conversations(self, conversations: Sequence[Any]) -> list[Encoded | ConversationError]:
        """Token ids and mask of each conversation, or why it can't be trained on."""
        texts: dict[int, _Text] = {}
        results: dict[int, Encoded | ConversationError] = {}
        for i, conversation in enumerate(conversations):
            try:
                texts[i] = self.lay_text(conversation)
            except ConversationError as e:
                results[i] = e
        tokens = _tokenize(self._tokenizer, {i: (text.text, text.cuts) for i, text in texts.items()})
        for i, text in texts.items():
            over = [start for start, _ in text.spans if _stretches_over(tokens[i][1], start)]
            if over:  # a response that begins with white space, which would melt into the prompt's last token
                tokens |= _tokenize(self._tokenizer, {i: (text.text, [*text.cuts, *over])})
            results[i] = self._mask(text, *tokens[i])
        return [results[i] for i in range(len(conversations))]

    def lay_text(self, conversation: Any) -> _Text:
        """A conversation as the template writes it, the characters of its responses, and where tokens must end.

        Raises:
            ConversationError: it is irregular, or the template does not write it so that each response and its end are known.
        """
        if reason := find_irregularity(conversation):
            raise ConversationError(reason, f"a conversation is irregular ({reason}); {REMEDY}")
        said = [turn["value"].strip() for turn in conversation]
        around = [turn["value"].partition(text) for turn, text in zip(conversation, said, strict=True)]
        layout = self._lay_out(
            tuple((ROLES[turn["from"]], lead, trail) for turn, (lead, _, trail) in zip(conversation, around, strict=True))
        )
        text, cuts, ends, starts = layout.pieces[0], [], [], []
        for turn, piece in zip(layout.order, layout.pieces[1:], strict=True):
            cuts += [len(text) + found.start() + 1 for found in self._spelled.finditer(said[turn])]
            starts.append(len(text))
            text += said[turn]
            ends.append(len(text))
            text += piece
        spans = [
            (starts[a.place] - len(layout.pieces[a.place]) + a.prompt, ends[a.place] + len(a.closing)) for a in layout.answers
        ]
        cuts += [start for (start, _), answer in zip(spans, layout.answers, strict=True) if answer.apart]
        return _Text(text, spans, cuts, layout)

    def _lay_out(self, shape: Shape) -> _Layout:
        if shape in self._layouts:
            return self._layouts[shape]
        messages = [{"role": r, "content": f"{lead}{_OPEN}{i}{_CLOSE}{trail}"} for i, (r, lead, trail) in enumerate(shape)]
        whole = self._render(messages, False)
        parts = _TURN.split(whole)
        order = [int(turn) for turn in parts[1::2]]
        for i, (role, _, _) in enumerate(shape):
            if order.count(i) != 1:
                raise ConversationError(
                    "not_rendered",
                    f"the chat template writes the text of turn {i + 1} ({role}) {order.count(i)} times instead of once; "
                    "train on conversations without such turns, or a model whose template writes them",
                )
        answers = [self._find_answer(messages, i, whole, order) for i, (role, _, _) in enumerate(shape) if role == "assistant"]
        (ids,) = self._tokenizer([whole], add_special_tokens=False)["input_ids"]
        self._layouts[shape] = _Layout(parts[::2], order, answers, self._count_controls(ids))
        return self._layouts[shape]

    def _find_answer(self, messages: list[dict[str, str]], turn: int, whole: str, order: list[int]) -> _Answer:
        """Where a response begins and ends.

        An earlier response that a template writes without what its prompt ended in (Qwen3's empty thought) is taken as it stands.
        """
        text = f"{_OPEN}{turn}{_CLOSE}"
        until, _, after = whole.partition(text)
        begin = until.rfind(_CLOSE) + 1  # of the template's piece before it
        before = self._render(messages[:turn], True)
        asked = whole.startswith(before) and begin <= len(before) <= len(until)
        prompt = len(before) if asked else len(until)
        alone, followed = self._tokenizer([whole[:prompt], until + "A"], add_special_tokens=False)["input_ids"]
        closed = self._render(messages[: turn + 1], False).partition(text)[2]
        mark = next(self._spelled.finditer(closed), None)
        closing = closed[: mark.end(1)] if mark else closed.rstrip()
        if not closing.strip():
            raise ConversationError(
                "no_end_of_turn",
                "the chat template writes nothing that ends a response, so a model would not learn to stop; train one whose does",
            )
        if not after.startswith(closing):
            raise ConversationError(
                "rewritten_by_template",
                f"the chat template does not end turn {turn + 1} with {closing!r} once other turns follow, so its mask would be "
                "wrong; train a model whose template does, or on single turns",
            )
        apart = asked and followed[: len(alone)] != alone
        return _Answer(order.index(turn), prompt - begin, closing, mark[1] if mark else None, apart)

    def _render(self, messages: list[dict[str, str]], prompt: bool) -> str:
        from jinja2 import TemplateError as Refusal

        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt, **self._arguments)
        except Refusal as e:
            raise ConversationError("refused_by_template", f"the chat template refuses a conversation: {e}") from e

    def _count_controls(self, ids: Sequence[int]) -> int:
        return sum(i in self._controls for i in ids)

    def _mask(self, text: _Text, ids: list[int], offsets: Offsets) -> Encoded | ConversationError:
        if self._count_controls(ids) != text.layout.controls:
            return ConversationError("control_token", "the tokenizer reads a part of a conversation's text as a control token")
        trained = [token_range(offsets, span) for span in text.spans]
        for (_, end), answer in zip(trained, text.layout.answers, strict=True):
            if answer.mark and self._controls.get(ids[end - 1]) != answer.mark:
                return ConversationError("control_token", f"the tokenizer does not read {answer.mark} as the end of a response")
        return Encoded(ids, trained)


def _control_tokens(tokenizer: Any) -> dict[int, str]:
    """Tokens by which a model's format is written: the special ones, and added ones of a known form (`<think>`)."""
    added = {i: token for i, token in tokenizer.added_tokens_decoder.items() if i != tokenizer.unk_token_id}
    return {
        i: t.content
        for i, t in added.items()
        if t.content.strip() and (t.special or break_control_tokens(t.content) != t.content)
    }


def _pattern(tokens: Sequence[str] | Any) -> re.Pattern[str]:
    """Finds where one of the tokens is spelled, overlapping ones too; group 1 is the longest there."""
    spelled = sorted(set(tokens), key=len, reverse=True)
    if not spelled:
        return re.compile("(?!)()")
    first = "".join(sorted({re.escape(t[0]) for t in spelled}))  # looked for alone, which is much faster
    return re.compile(f"(?=[{first}])(?=({'|'.join(map(re.escape, spelled))}))")


def _tokenize(tokenizer: Any, texts: Mapping[int, tuple[str, list[int]]]) -> dict[int, tuple[list[int], Offsets]]:
    """Ids and offsets of each text, without special tokens around it; a text with cuts is tokenized part by part."""
    parts = [
        (i, start, text[start:end]) for i, (text, cuts) in texts.items() for start, end in pairwise(sorted({0, *cuts, len(text)}))
    ]
    found: dict[int, tuple[list[int], Offsets]] = {i: ([], []) for i in texts}
    if parts:
        tokens = tokenizer([part for _, _, part in parts], return_offsets_mapping=True, add_special_tokens=False)
        for (i, start, _), ids, offsets in zip(parts, tokens["input_ids"], tokens["offset_mapping"], strict=True):
            found[i][0].extend(ids)
            found[i][1].extend((start + a, start + b) for a, b in offsets)
    return found


def _stretches_over(offsets: Offsets, place: int) -> bool:
    before = bisect_left(offsets, (place,)) - 1
    return before >= 0 and offsets[before][1] > place


def token_range(offsets: Offsets, span: tuple[int, int]) -> tuple[int, int]:
    """The tokens that begin in a span of characters. What a token swallows behind the span (a strip flag) does not matter.

    A token without width at the span's start is white space that ends the prompt, unless the token before it ends there too.
    """
    first, end = (bisect_left(offsets, (place,)) for place in span)
    if 0 < first < end and offsets[first] == (span[0], span[0]) and offsets[first - 1][1] < span[0]:
        first += 1
    return first, end


def render(
    tokenizer: Any, conversation: Sequence[Mapping[str, str]], template_arguments: Mapping[str, Any] | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """The conversation as the model's template writes it, and the character span of every response in it.

    Raises:
        ConversationError: see `Encoder.lay_text`.
    """
    text = Encoder(tokenizer, template_arguments).lay_text(conversation)
    return text.text, text.spans


def encode_conversations(
    tokenizer: Any,
    conversations: Sequence[Any],
    template_arguments: Mapping[str, Any] | None = None,
    today: date = TEMPLATE_DATE,
) -> list[Encoded]:
    """Token ids and masks of conversations that must all be regular.

    Raises:
        ConversationError: one of them can't be trained on.
    """
    encoded = []
    for result in Encoder(tokenizer, template_arguments, today).try_conversations(conversations):
        if isinstance(result, ConversationError):
            raise result
        encoded.append(result)
    return encoded


def encode_continuations(tokenizer: Any, texts: Sequence[str], split_at: Sequence[int]) -> list[Encoded]:
    """Token ids and masks of raw texts (ablation A1): what comes after character `split_at` and the end of text is trained.

    Raises:
        TemplateError: the tokenizer has no end of text.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise TemplateError("the tokenizer has no end-of-text token, which raw continuation trains; set eos_token in its files")
    probe = tokenizer("a", return_special_tokens_mask=True)
    opening = [i for i, special in zip(probe["input_ids"], probe["special_tokens_mask"], strict=True) if special and i != end]
    spelled = _pattern(_control_tokens(tokenizer).values())
    tokens = _tokenize(
        tokenizer, {i: (text, [found.start() + 1 for found in spelled.finditer(text)]) for i, text in enumerate(texts)}
    )
    encoded = []
    for i, split in enumerate(split_at):
        ids, offsets = tokens[i]
        first, _ = token_range(offsets, (split, len(texts[i])))
        whole = [*opening, *ids, end]
        encoded.append(Encoded(whole, [(len(opening) + first, len(whole))]))
    return encoded
