"""F1: posts of persons that others read and that say enough."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet
from humanllm_assets.filtering.rules.reddit_accounts import account_rules
from resources.sources import RedditRules


def _list_rules(rules: RedditRules) -> list[Rule]:
    low, few = f"score IS NULL OR score < {rules.min_score}", f"num_comments IS NULL OR num_comments < {rules.min_comments}"
    if rules.score_and_comments == "and":
        popularity = [Rule("low_score", low), Rule("few_comments", few)]
    else:
        popularity = [Rule("low_score_and_few_comments", f"({low}) AND ({few})")]
    return [*account_rules(), Rule("removed_text", "removed"), *popularity, Rule("too_short", f"n_chars < {rules.min_chars}")]


RULES = RuleSet("F1", _list_rules)
