"""F3: blog posts in the first person."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet, as_words, matches, too_short
from resources.sources import BloggerRules

# "US" in capitals is a country here, not a pronoun; "im" and "ive" are how bloggers write.
_FIRST_PERSON = as_words(r"(?i:i|im|ive|me|my|mine|myself|we|our|ours|ourselves)|[Uu]s")


def _list_rules(rules: BloggerRules) -> list[Rule]:
    listed = [Rule("empty_text", "n_chars = 0"), too_short(rules.min_chars)]
    if rules.first_person:
        listed.append(Rule("no_first_person", f"NOT {matches('text', _FIRST_PERSON, 'c')}"))
    if rules.min_age:
        listed.append(Rule("too_young", f"age IS NULL OR age < {rules.min_age}"))
    return listed


RULES = RuleSet("F3", _list_rules)
