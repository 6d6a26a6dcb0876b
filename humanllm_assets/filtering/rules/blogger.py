"""F3: blog posts in the first person."""

from __future__ import annotations

from humanllm_assets.filtering.rule import Rule, RuleSet, matches
from humanllm_assets.sql import literal
from resources.sources import BloggerRules

# Borders of words in any script: RE2's \b knows ASCII alone, and takes the `i` of `été i` and of `naïf` for the same. A modifier
# letter may stand for the apostrophe of "I'm".
_BEFORE, _BEHIND = r"(?:^|[^\p{L}\p{M}\p{N}_])", r"(?:$|[^\p{L}\p{M}\p{N}_]|[\x{2bb}\x{2bc}])"
_I = r"(?i:i)(?:$|[^\p{L}\p{M}\p{N}_.]|[\x{2bb}\x{2bc}]|\.(?:$|[^Ee]))"  # but not "i.e."
# "US" in capitals is a country here, not a pronoun; "im" and "ive" are how bloggers write.
_FIRST_PERSON = rf"{_BEFORE}(?:(?:(?i:im|ive|me|my|mine|myself|we|our|ours|ourselves)|[Uu]s){_BEHIND}|{_I})"
# What stands for markup in the corpus: `urlLink` where a link was, runs of blanks, also hard ones, where other tags were.
_BLANK, _TAG = r"[\p{Z}\p{C}]", r"(?:urlLink|</?[A-Za-z][^<>]*>|&nbsp;?)"
_MARKUP = rf"(?:{_BLANK}*{_TAG})+{_BLANK}*|{_BLANK}{{2,}}"
_VISIBLE_CHARS = f"length(trim(regexp_replace(text, {literal(_MARKUP)}, ' ', 'g')))"


def _list_rules(rules: BloggerRules) -> list[Rule]:
    listed = [
        Rule("empty_text", "n_chars = 0"),
        Rule("too_short", f"n_chars < {rules.min_chars} OR {_VISIBLE_CHARS} < {rules.min_chars}"),
    ]
    if rules.first_person:
        listed.append(Rule("no_first_person", f"NOT {matches('text', _FIRST_PERSON, 'c')}"))
    if rules.min_age:
        listed.append(Rule("too_young", f"age IS NULL OR age < {rules.min_age}"))
    return listed


RULES = RuleSet("F3", _list_rules)
