"""S5: comments of persons that say something. What they answer is looked at later, when the posts are filtered."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet, too_short
from humanllm_assets.filtering.rules.reddit_accounts import account_rules, bot, removed_text
from resources.sources import CommentRules


def _list_rules(rules: CommentRules) -> list[Rule]:
    return [
        *account_rules(),
        Rule("low_score", f"score IS NULL OR score < {rules.min_score}"),
        removed_text(rules.drop_withdrawn),
        too_short(rules.min_chars),
        bot(),
    ]


RULES = RuleSet("S5", _list_rules)
