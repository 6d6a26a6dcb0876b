"""Texts are made for the rows alone that no cheaper rule has dropped."""

from __future__ import annotations

from typing import Any

import pytest

from humanllm_assets.filtering.rule import Rule, row_rules
from humanllm_assets.filtering.verdicts import early_rules
from resources.thresholds import Thresholds

BEFORE_TEXTS = {
    "reddit": ["deleted_account", "system_account", "moderator", "low_score", "few_comments"],
    "twitter": [],
    "blogger": [],
}


@pytest.mark.parametrize("source", BEFORE_TEXTS)
def test_rules_that_need_no_text_are_asked_first(source):
    rules: Any = Thresholds().rules_of(source)
    assert [rule.reason for rule in early_rules(row_rules(source, rules))] == BEFORE_TEXTS[source]


def test_a_word_that_a_rule_quotes_is_no_column():
    named, gone = Rule("named", "user_id IN ('text', 'it''s removed')"), Rule("gone", "removed")
    assert early_rules([named, gone, named]) == [named]
