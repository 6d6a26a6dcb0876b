"""Markup, addresses and marks in a text, taken out by rule (F5): what is left reads as the person's own words.

Reddit's texts are Markdown, Amazon's and the blogs' HTML, and each site has codes of its own. A Markdown parser would take for
markup what people write by hand (`1) ...`, `*sigh*`, `# 1 dad`); only what holds an address or a site's code is looked for here.

What belongs here: what is removed from any text. What does not: private items (`privacy/`), what a model is told to do.
"""

from __future__ import annotations

import re
from collections import Counter

_WORDS = r"\[((?:[^\[\]\n]|\[[^\[\]\n]{0,100}\]){0,300})\]"
_INSIDE = (
    r"(?:[^()\s]|\((?:[^()\s]|\([^()\s]{0,200}\)){0,200}\)){0,2000}"  # of an address; brackets in pairs, as Markdown has them
)
_TITLE = r"""(?:\s+(?:"[^"\n]{0,200}"|'[^'\n]{0,200}'))?"""
_TARGET = rf"(?:<(?:https?://|www\.|mailto:|/|\#)[^<>\n]{{0,2000}}>|(?:https?://|www\.|mailto:|giphy\||/|\#){_INSIDE}){_TITLE}"
_IMAGE = re.compile(rf"!{_WORDS}\(\s?{_TARGET}\s?\)")
_LINK = re.compile(rf"{_WORDS}\(\s?{_TARGET}\s?\)")
_DEFINITION = re.compile(rf"^[ ]{{0,3}}\[([^\[\]\n]{{1,100}})\]:\s*<?(?:https?://|www\.|/|\#)\S*{_TITLE}[ \t]*$", re.MULTILINE)
_REFERENCE = re.compile(rf"!?{_WORDS}[ ]?\[([^\[\]\n]{{0,100}})\]")
_ADDRESS = (
    r"(?:(?:https?://|www\.)(?:[^\s<>\"'()\[\]]|\([^\s()]{0,200}\)){1,2000}|\b(?:pic\.twitter\.com|t\.co|bit\.ly|youtu\.be)/\w+)"
)
_URL = re.compile(  # with the blank before it: what follows may be a full stop
    rf"[ \t]?(?:<(?:mailto:)?{_ADDRESS}>|\(\s?{_ADDRESS}\s?\)|\[\s?{_ADDRESS}\s?\]|{_ADDRESS}(?<![.,;:!?]))", re.IGNORECASE
)
_TAG = re.compile(r"<!--.*?-->|</?[a-zA-Z][^<>\n]{0,300}>", re.DOTALL)
_CODE = re.compile(r"\[\[(?:VIDEO|IMAGE)ID:[^\]\n]*\]\]|\bLength::\s?\d{1,3}:\d\d\s?Mins\b", re.IGNORECASE)
_PRODUCT = re.compile(r"\[\[ASIN:\w{1,20}\s?([^\]\n]{0,300})\]\]", re.IGNORECASE)
_SPOILER = re.compile(r">!\s?((?:(?!>!).){1,2000}?)\s?!<", re.DOTALL)
_SUPERSCRIPT = re.compile(r"(?<!\S)\^+(?:\(([^()\n]{1,300})\)|(?=\w))")
_MENTION = re.compile(r"(?<![\w.@])@\w{1,30}")
_HASHTAG = re.compile(r"(?<![\w&])#(?=\w*[^\W\d])\w+")
# Marks without width, control characters but line ends and blanks, and half of a character, where a reply was cut.
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad\ufffd\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def clean_text(text: str, *, twitter: bool) -> tuple[str, Counter[str]]:
    """Remove what F5 forbids by rule: `url`, `html` and, on Twitter, `mention` and `hashtag`; signs of layout are not counted.

    The words of a Markdown link stay, its address goes; an image goes with its description. Returns the text with normalised
    blanks, and how often each kind was found.
    """
    found: Counter[str] = Counter()
    text, n = _remove_references(text)
    found["url"] += n
    rules = [
        ("url", _IMAGE, " "),
        ("url", _LINK, r"\1"),
        ("url", _URL, ""),
        ("html", _TAG, " "),
        ("html", _CODE, " "),
        ("html", _PRODUCT, r"\1"),
        ("", _SPOILER, r"\1"),
        ("", _SUPERSCRIPT, r"\1"),
    ]
    if twitter:
        rules += [("mention", _MENTION, ""), ("hashtag", _HASHTAG, "")]
    for kind, pattern, replacement in rules:
        text, n = pattern.subn(replacement, text)
        found[kind] += n
    text = _INVISIBLE.sub("", text).replace("\r\n", "\n")
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip(), Counter({kind: n for kind, n in found.items() if kind and n})


def _remove_references(text: str) -> tuple[str, int]:
    """Definitions such as `[1]: https://...` go, and where one is meant (`[words][1]`, `[words][]`) the words stay."""
    names = {name.lower() for name in _DEFINITION.findall(text)} if "]:" in text else set()
    if not names:
        return text, 0
    text, n = _DEFINITION.subn("", text)

    def words(match: re.Match[str]) -> str:
        return match[1] if (match[2] or match[1]).lower() in names else match[0]

    return _REFERENCE.sub(words, text), n
