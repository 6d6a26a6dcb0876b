"""F1: posts of persons that others read and that say enough."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet, too_short
from humanllm_assets.filtering.rules.reddit_accounts import account_rules, bot, removed_text
from resources.sources import RedditRules


def _list_rules(rules: RedditRules) -> list[Rule]:
    low, few = f"score IS NULL OR score < {rules.min_score}", f"num_comments IS NULL OR num_comments < {rules.min_comments}"
    if rules.score_and_comments == "and":
        popularity = [Rule("low_score", low), Rule("few_comments", few)]
    else:
        popularity = [Rule("low_score_and_few_comments", f"({low}) AND ({few})")]
    return [*account_rules(), *popularity, removed_text(rules.drop_withdrawn), too_short(rules.min_chars), bot()]


RULES = RuleSet("F1", _list_rules)
