"""How much of a text a person reads: its characters without markup, addresses and marks that show nothing.

The text itself stays as it is: the rewriter sees what its writer wrote.
"""

from __future__ import annotations

from humanllm_assets.sql import literal

# What shows nothing: formatting marks (joiners, directions, tags), blanks that count as letters, selectors of variants.
_UNSEEN = (
    r"[\p{Cf}\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{2800}\x{3164}\x{fe00}-\x{fe0f}\x{ffa0}"
    r"\x{fffc}\x{e0100}-\x{e01ef}]"
)
_BLANK = r"[\s\x{85}\p{Z}]"
_URL = r"(?i:https?://|www\.)[^\s<>()\[\]]+(?:\([^\s()]*\)[^\s<>()\[\]]*)*"
# In this order; each leaves what a person reads.
_MARKUP = (
    (r"(?is)<(?:script|style)\b.*?</(?:script|style)>", ""),
    (r"<(?:/?[a-zA-Z]|!--)[^<>\n]*>", ""),
    (r"(?i)\[\[(?:VIDEO|IMAGE)ID:[^\]]*\]\]", ""),
    (r"(?i)\[\[ASIN:[A-Z0-9]+\s*([^\]]*)\]\]", r"\1"),
    (r"(?i)\bLength::?\s*[0-9:]+\s*Mins?\b", ""),
    (r"!\[[^\[\]]*\](?:\([^()\n]*\)|\[[^\[\]\n]*\])", ""),
    (r"(?m)^ {0,3}\[[^\[\]\n]+\]:[ \t]*\S+(?:[ \t]+[\"'(][^\n]*)?$", ""),  # what a reference link refers to
    (r"\[([^\[\]]*)\]\((?:[^()\n]|\([^()\n]*\))*\)", r"\1"),
    (r"\[([^\[\]\n]+)\]\[[^\[\]\n]*\]", r"\1"),
    (_URL, ""),
    (rf"{_BLANK}{{2,}}", " "),
)


def readable_chars(column: str, markup: bool = True) -> str:
    """SQL: how many characters of a text column a person reads. Costly: ask only of records that pass the other rules.

    Args:
        markup: the texts may hold Markdown or HTML, which do not count, nor do addresses. False where a text shows as it is.
    """
    shown = f"CASE WHEN strlen({column}) <> length({column}) THEN {_replace(column, _UNSEEN, '')} ELSE {column} END"
    seen = f"trim({_replace(shown, f'{_BLANK}{{3,}}', '  ')})"
    if not markup:
        return f"length({seen})"
    signs = " OR ".join(f"contains({column}, {literal(sign)})" for sign in ("[", "<", "://", "www.", "Length:"))
    read = seen
    for pattern, replacement in _MARKUP:
        read = _replace(read, pattern, replacement)
    return f"length(CASE WHEN {signs} THEN trim({read}) ELSE {seen} END)"


def _replace(expression: str, pattern: str, replacement: str) -> str:
    return f"regexp_replace({expression}, {literal(pattern)}, {literal(replacement)}, 'g')"
