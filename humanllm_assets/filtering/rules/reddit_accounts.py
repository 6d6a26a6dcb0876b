"""Reddit accounts that are no persons: what the rules of posts and of comments share."""

from __future__ import annotations

from humanllm_assets.filtering.rule import USER_NAME, Rule, matches
from humanllm_assets.sql import literal

# Bots by name: a name that ends in "bot" (and digits) or has it as a word of its own; not the surnames that end so. A person
# who calls herself "something_robot" is lost too: better that than a bot's text in a persona.
_BOT_NAME = r"bot[0-9]*$|(^|[_-])bot([_-]|$)"
_BOT_SURNAME = r"(abbot|talbot|cabot|turbot|sabot)[0-9]*$"
_KNOWN_BOTS = ("automoderator", "totesmessenger", "autotldr", "tweetposter", "sub_mentions", "the-paranoid-android")
_BOT_TEXT = r"\bi('| a)m a bot\b|this action was performed automatically|\bbeep boop\b"
_MODERATOR_NAME = r"[_-]?modteam$|[_-]mods?$|^mod[_-]"
_SYSTEM_NAMES = ("reddit", "announcements", "[removed]")


def account_rules() -> list[Rule]:
    """Rules that drop what deleted and system accounts, bots and moderators wrote."""
    known, system = (", ".join(map(literal, names)) for names in (_KNOWN_BOTS, _SYSTEM_NAMES))
    return [
        Rule("deleted_account", f"{USER_NAME} IN ('[deleted]', '')"),
        Rule("system_account", f"lower({USER_NAME}) IN ({system})"),
        Rule(
            "bot",
            f"lower({USER_NAME}) IN ({known}) OR ({matches(USER_NAME, _BOT_NAME)} AND NOT {matches(USER_NAME, _BOT_SURNAME)})"
            f" OR {matches('text', _BOT_TEXT)}",
        ),
        Rule("moderator", f"coalesce(distinguished, '') IN ('moderator', 'admin') OR {matches(USER_NAME, _MODERATOR_NAME)}"),
    ]
