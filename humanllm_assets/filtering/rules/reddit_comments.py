"""S5: comments of persons that say something. What they answer is looked at later, when the posts are filtered."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet, too_short
from humanllm_assets.filtering.rules.reddit_accounts import account_rules, removed_text
from resources.sources import CommentRules


def _list_rules(rules: CommentRules) -> list[Rule]:
    return [
        *account_rules(),
        removed_text(rules.drop_withdrawn),
        Rule("low_score", f"score IS NULL OR score < {rules.min_score}"),
        too_short(rules.min_chars),
    ]


RULES = RuleSet("S5", _list_rules)
