"""Reddit's dumps: how they are stored, and SQL of the fields that posts and comments share.

A text can be gone in three ways. Reddit puts a placeholder in its place (also in a title's); a tool that cleans an account writes
a sentence over it; or a dump still holds it while its flags say that its writer, a moderator or Reddit took it away afterwards.
The first two leave no text of the writer (`removed`), the third does (`withdrawn`): a threshold decides what becomes of it.
"""

from __future__ import annotations

from humanllm_assets.sql import literal

OPENED = "2005-06-01"
CONTAINERS = ("ndjson", "ndjson.gz", "zst", "parquet")
TIMES = ("created_utc",)
FLAGS = ("removed_by_category", "removed_by", "banned_by", "_meta")
POST_FIELDS = ("id", "author", "title", "created_utc")
OPTIONAL_POST_FIELDS = ("selftext", "score", "num_comments", "distinguished", "subreddit", *FLAGS)

AUTHOR = "'reddit/' || coalesce(nullif(trim(author), ''), '[deleted]')"
POST_ID = "'reddit:t3_' || regexp_replace(id, '^t3_', '')"
SCORE = "TRY_CAST(TRY_CAST(score AS DOUBLE) AS BIGINT)"

# ---- texts that are gone ---------------------------------------------------------------------------------------------

_AROUND = r"[\s\\*_~^()\p{Z}\p{Cf}]*"
_GONE = "(?:removed|deleted|redacted|overwritten|purged|nuked|unavailable)"
_THING = "(?:comment|post|submission|content|message|text)"
_WHO = (
    r"(?:the\s+)?(?:its\s+)?(?:users?|author|owner|op|poster|moderators?|mods?|mod\s+team|automoderator|automod|admins?|reddit)"
)
_WHY = r"(?:\s+(?:on\s+account\s+of|in\s+response\s+to|in\s+protest|because|due\s+to|for)\b[^\n]{0,150})?"
_BY = rf"(?:\s+by\s+{_WHO}{_WHY})"
_PLACEHOLDER = (
    rf"{_AROUND}\[{_AROUND}(?:{_THING}\s+)?{_GONE}{_BY}?\s*\.?{_AROUND}\]{_AROUND}"
    rf"|{_AROUND}(?:sorry,\s+)?(?:this\s+)?(?:{_THING}\s+)?(?:was\s+|has\s+been\s+)?{_GONE}{_BY}\s*\.?{_AROUND}"
    rf"|sorry,\s+this\s+{_THING}\s+(?:was|has\s+been)\s+{_GONE}\s+by\s+[^\n]{{0,80}}"
)
_DONE = "(?:removed|deleted|edited|overwritten|replaced|erased|purged|wiped|nuked|redacted|scrubbed|anonymi[sz]ed)"
_TOOL = r"(?:power\s*delete\s*suite|redact\b|shreddit|reddit[\s-]*overwrite|j0be)"
_BY_TOOL = (  # the sentences of Redact and of the overwriting user scripts, the links of Power Delete Suite
    rf"(?:mass\s+(?:deleted|edited)|{_DONE})\s+and\s+anonymi[sz]ed\s+(?:with|by|using)\b"
    rf"|overwritten\s+by\s+(?:an?|this|the)\s+(?:open[\s-]source\s+)?(?:script|bot|tool)\b"
    rf"|{_DONE}\s+(?:with|by|using|via|through)\s+(?:the\s+)?[\[*_]*(?:https?://\S*)?{_TOOL}"
    r"|(?:codepen\.io|github\.com)/j0be|redact\.dev|greasyfork\.org/\S*overwrite"
)
_SIGNS_OF_TOOL = ("nonymi", "verwrit", "edact", "j0be")  # one is in each; looking for them costs little
_BY_HAND = (  # the whole text says of itself that it is gone, and why
    rf"{_AROUND}\[?{_AROUND}this\s+{_THING}\s+(?:has\s+been|was|is)\s+(?:\w+\s+)?{_DONE}(?:\s+by\s+{_WHO})?[\s.!*_\])]*"
    rf"|{_AROUND}\[?{_AROUND}(?:this\s+)?{_THING}\s+(?:has\s+been\s+|was\s+|is\s+)?(?:\w+\s+)?{_DONE}\b[^\n]{{0,120}}"
    r"\b(?:protest|privacy|api|third[\s-]party|spez|huffman|script)\b[^\n]{0,300}"
)
_MOST_CHARS = 1000  # longer texts tell of such tools


def is_gone(field: str) -> str:
    """SQL: a title or a body holds a placeholder or a tool's sentence instead of its writer's text; false for NULL."""
    whole, tool = literal(rf"(?is)^(?:{_PLACEHOLDER}|{_BY_HAND})$"), literal(rf"(?is){_BY_TOOL}")
    may_be_tool = " OR ".join(f"contains({field}, '{sign}')" for sign in _SIGNS_OF_TOOL)
    found = f"regexp_matches({field}, {whole}) OR ({may_be_tool}) AND regexp_matches({field}, {tool})"
    # outside a CASE, an AND asks all of its questions about every row
    return f"CASE WHEN length({field}) < {_MOST_CHARS} AND ({found}) THEN true ELSE false END"


def body(field: str) -> str:
    """SQL: the clean text of a body, empty where it is gone or there is none."""
    return f"CASE WHEN {is_gone(field)} THEN '' ELSE coalesce(clean_text({field}), '') END"


def is_withdrawn() -> str:
    """SQL: a flag says that the writer, a moderator or Reddit took the text away, whether or not it is still in the dump."""
    nothing = "('', 'null', 'false', 'none')"
    flags = " OR ".join(
        f"lower(coalesce({flag}, '')) NOT IN {nothing}" for flag in ("removed_by_category", "removed_by", "banned_by")
    )
    later = literal(r"(?i)was_deleted_later[\"']?\s*[:=]\s*[\"']?(?:true|1)\b")
    kind = literal(r"(?i)removal_type[\"']?\s*[:=]\s*[\"']?([a-z_ ]+)")
    meta = f"_meta IS NOT NULL AND (regexp_matches(_meta, {later}) OR lower(regexp_extract(_meta, {kind}, 1)) NOT IN {nothing})"
    return f"CASE WHEN {flags} OR {meta} THEN true ELSE false END"
