"""What a rule is: a reason with the SQL condition that drops a record, and pieces of SQL that conditions are written with.

What belongs here: what the rules of every source are made of. What does not: conditions (`rules/<source>.py`), applying them
(`verdicts.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from humanllm_assets.filtering.readable import readable_chars
from humanllm_assets.sources.registry import load_part
from humanllm_assets.sql import literal
from resources.sources import SOURCES
from resources.strict import Strict

if TYPE_CHECKING:
    from resources.profile import Source


@dataclass(frozen=True)
class Rule:
    """`fails`: SQL over a record's columns but those of its context, true or NULL for a record to be dropped with `reason`."""

    reason: str
    fails: str


@dataclass(frozen=True)
class Duplicates:
    """Of the records that share `keys` (SQL) one stays."""

    reason: str
    keys: str


USER_NAME = "split_part(user_id, '/', 2)"  # without its site
BY_ID = Duplicates("duplicate_id", "record_id")
BY_TEXT = Duplicates("duplicate_text", "user_id, text_key")


@dataclass(frozen=True)
class RuleSet:
    """The rules of one source, `RULES` of its module in `rules/`."""

    title: str
    """Their name in the paper or the requirements, such as F1."""
    row_rules: Callable[[Any], list[Rule]]
    """From the source's thresholds: the rules that look at one record, in the order in which they are counted."""
    duplicates: tuple[Duplicates, ...] = (BY_ID, BY_TEXT)
    """Applied within a slice to the records that the row rules leave, in this order."""
    core_reasons: tuple[str, ...] = ()
    """Reasons of rules over all slices, counted after the duplicates; the asset <source>_core then gives their verdicts. The last
    one is the reason of a record that it has never seen."""

    @property
    def has_core(self) -> bool:
        return bool(self.core_reasons)


def load_rules(source: str) -> RuleSet:
    """The rules of a source.

    Raises:
        MissingPart: the source has no module with rules.
    """
    return load_part("humanllm_assets.filtering.rules", source, "RULES", RuleSet)


def row_rules(source: str, thresholds: Strict) -> list[Rule]:
    """The source's row rules with their thresholds filled in, in the order in which they are counted.

    Args:
        thresholds: such as `profile.thresholds.rules_of("reddit")`.

    Raises:
        TypeError: they are another source's.
    """
    if not isinstance(thresholds, SOURCES[source].rules):
        raise TypeError(f"the rules of {source} cannot use {type(thresholds).__name__}; give thresholds.rules.{source}")
    return load_rules(source).row_rules(thresholds)


OTHER_SUBREDDIT = "other_subreddit"


def selection_rules(source: Source, slice_name: str) -> list[Rule]:
    """What of a slice's rows belongs to it, as rules before all others: `other_subreddit`, then `outside_time_window`.

    Those that the profile does not ask for are left out, so that nothing is counted for them.
    """
    rules, chosen = [], source.selection(slice_name)
    if names := chosen.get("subreddits"):
        rules.append(Rule(OTHER_SUBREDDIT, f"lower(subreddit) NOT IN ({', '.join(map(literal, names))})"))
    early = [f"created_at < TIMESTAMP {literal(chosen['from'])}"] if "from" in chosen else []
    late = [f"created_at >= TIMESTAMP {literal(chosen['until'])}"] if "until" in chosen else []
    return [*rules, *([Rule("outside_time_window", " OR ".join([*early, *late]))] if early or late else [])]


def reasons(source: str, thresholds: Strict) -> list[str]:
    """Every reason a record of the source can be dropped for, in the order in which they are counted."""
    rules = load_rules(source)
    return [r.reason for r in (*row_rules(source, thresholds), *rules.duplicates)] + list(rules.core_reasons)


def matches(column: str, pattern: str, options: str = "i") -> str:
    """SQL: the column holds a match of the regular expression. Options as DuckDB names them: i ignores case, c does not."""
    return f"regexp_matches({column}, {literal(pattern)}, '{options}')"


def as_words(pattern: str) -> str:
    """A pattern that matches only where it stands as words of its own, in any alphabet: RE2's own word borders are ASCII."""
    return rf"(?:^|[^\p{{L}}\p{{M}}\p{{N}}])(?:{pattern})(?:[^\p{{L}}\p{{M}}\p{{N}}]|$)"


def too_short(min_chars: int, markup: bool = True) -> Rule:
    """The rule about a text's length: what a person reads of it counts, not its markup, addresses and unseen marks.

    Args:
        markup: as of `readable_chars`.
    """
    return Rule("too_short", f"n_chars < {min_chars} OR {readable_chars('text', markup)} < {min_chars}")


def is_one_of(column: str, hashes: Collection[str]) -> str:
    """SQL: the sha256 of a column is among these; false for NULL and when there are none."""
    listed = ", ".join(literal(h) for h in sorted(hashes))
    return f"coalesce(sha256({column}) IN ({listed}), false)" if listed else "false"
