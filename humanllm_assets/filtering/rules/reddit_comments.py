"""S5: comments of persons that say something. What they answer is looked at later, when the posts are filtered."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet
from humanllm_assets.filtering.rules.reddit_accounts import account_rules
from resources.sources import CommentRules


def _list_rules(rules: CommentRules) -> list[Rule]:
    return [
        *account_rules(),
        Rule("removed_text", "removed"),
        Rule("low_score", f"score IS NULL OR score < {rules.min_score}"),
        Rule("too_short", f"n_chars < {rules.min_chars}"),
    ]


RULES = RuleSet("S5", _list_rules)
