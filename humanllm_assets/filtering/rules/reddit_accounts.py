"""Reddit accounts that are no persons: what the rules of posts and of comments share.

Rules that look at texts come last, those with the costliest patterns at the very end: most records are dropped before.
"""

from __future__ import annotations

from humanllm_assets.filtering.rule import USER_NAME, Rule, as_words, matches
from humanllm_assets.sql import literal

# Bots by name: a name that ends in "bot" (and digits) or has it as a word of its own; not the surnames that end so. A person
# who calls herself "something_robot" is lost too: better that than a bot's text in a persona.
_BOT_NAME = r"bot[0-9]*$|(^|[_-])bot([_-]|$)"
_BOT_SURNAME = r"(abbot|talbot|cabot|turbot|sabot)[0-9]*$"
_KNOWN_BOTS = ("automoderator", "totesmessenger", "autotldr", "tweetposter", "sub_mentions", "the-paranoid-android")
# Bots sign in superscript, bold or brackets, which put marks between the words: `^I ^am ^a ^bot`, `*beep* *boop*`.
_GAP = r"[\s*_~^()\[\]\\\p{Z}]+"
_SIGNATURES = (
    rf"i(?:{_GAP}a|['’‘ʼ´`]?)m{_GAP}an?{_GAP}(?:(?:automated|automatic|reddit){_GAP})?bot",
    r"beep[^\p{L}\p{N}]+boop",
    rf"this{_GAP}action{_GAP}was{_GAP}performed{_GAP}automatically",
    rf"(?:comment|post|message|reply){_GAP}was{_GAP}(?:made|posted|created|generated|sent|written){_GAP}by{_GAP}a{_GAP}bot",
    "ᵇᵒᵗ",
)
_BOT_TEXT = as_words("|".join(_SIGNATURES))
_MODERATOR_NAME = r"[_-]?modteam$|[_-]mods?$|^mod[_-]"
_SYSTEM_NAMES = ("reddit", "announcements", "[removed]")


def removed_text(drop_withdrawn: bool) -> Rule:
    """The rule that drops texts that are gone, and by a threshold those that were taken away while a dump still holds them."""
    return Rule("removed_text", "removed OR withdrawn" if drop_withdrawn else "removed")


def account_rules() -> list[Rule]:
    """Rules that drop what deleted and system accounts and moderators wrote."""
    system = ", ".join(map(literal, _SYSTEM_NAMES))
    return [
        Rule("deleted_account", f"{USER_NAME} IN ('[deleted]', '')"),
        Rule("system_account", f"lower({USER_NAME}) IN ({system})"),
        Rule("moderator", f"coalesce(distinguished, '') IN ('moderator', 'admin') OR {matches(USER_NAME, _MODERATOR_NAME)}"),
    ]


def bot() -> Rule:
    """The rule that drops what bots wrote, who are known by their names or by how they sign."""
    known = ", ".join(map(literal, _KNOWN_BOTS))
    named = f"lower({USER_NAME}) IN ({known}) OR ({matches(USER_NAME, _BOT_NAME)} AND NOT {matches(USER_NAME, _BOT_SURNAME)})"
    return Rule("bot", f"{named} OR {matches('text', _BOT_TEXT)}")
