"""The sources of records: what each is called, whose users it has, what is made of it, and the thresholds of its rules.

A new source is an entry in `SOURCES` and two modules of its name: `humanllm_assets/sources/<source>.py` (its files' layouts and
how their fields become columns) and `humanllm_assets/filtering/rules/<source>.py` (its rules). A profile then names its slices.

What belongs here: names and facts. What does not: layouts, SQL, conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from resources.strict import Strict, check_name

# ---- thresholds of the rules: defaults are the paper's values (HumanLLM, KDD 2026, section 2.1) where it prints one ---------


class RedditRules(Strict):
    """F1."""

    min_score: int = 2
    min_comments: int = 2
    score_and_comments: Literal["and", "or"] = "and"  # the paper's text says and; its released code drops only if both fail
    min_chars: int = 300
    drop_withdrawn: bool = True  # texts that a dump still holds though their writer, a moderator or Reddit took them away later


class TwitterRules(Strict):
    """F2."""

    min_chars: int = 300
    trailing_link_is_quote: bool = False  # a tweet that ends in a t.co link may quote another one, or carry a photo or an article


class BloggerRules(Strict):
    """F3."""

    min_chars: int = 300
    first_person: bool = True
    min_age: int = 0  # the paper takes every blogger; the full corpus has 8,240 minors, whom 18 leaves out


class AmazonRules(Strict):
    """F4."""

    min_chars: int = 100
    min_item_purchases: int = 3
    min_user_purchases: int = 8


class CommentRules(Strict):
    """Reddit comments (S5): the paper states no rule; these keep comments that say something."""

    min_chars: int = 50
    min_score: int = 1
    drop_withdrawn: bool = True  # as for posts; a post that was taken away is never the context of a comment


# ---- the sources -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceFacts:
    """What the whole graph knows of one source."""

    title: str
    """What a slice is, for the asset pages."""
    label: str
    """Its row in Table A1."""
    site: str
    """The site whose user names it shares: commenters are Reddit users, and have their profiles there."""
    rules: type[Strict]
    """Thresholds of its rules, all with defaults; `min_chars` is among them, because a contract reads it."""
    text_kind: str = "text"
    """What one of its texts is called in the prompts of the tasks."""
    has_profiles: bool = True
    """Its users get a profile (P1-P4)."""
    has_scenarios: bool = True
    """Its records get scenarios and social QA (E1, B1)."""
    has_context: bool = False
    """Its slices have context files: what its records are about, and what nobody wrote as a user."""
    answers: str | None = None
    """The source whose records its own answer. They are read from the filtered slice of the same name, never from a file."""


SOURCES: dict[str, SourceFacts] = {
    "reddit": SourceFacts(
        title="Reddit submissions, one slice per subreddit (S1)",
        label="Reddit",
        site="reddit",
        rules=RedditRules,
        text_kind="post",
    ),
    "twitter": SourceFacts(
        title="Tweets, one slice per shard group (S2)",
        label="Twitter",
        site="twitter",
        rules=TwitterRules,
        text_kind="tweet",
    ),
    "blogger": SourceFacts(
        title="Blog posts of the Blog Authorship Corpus, one slice per chunk (S3)",
        label="Blogger",
        site="blogger",
        rules=BloggerRules,
        text_kind="blog entry",
    ),
    "amazon": SourceFacts(
        title="Amazon reviews and items, one slice per category (S4)",
        label="Amazon",
        site="amazon",
        rules=AmazonRules,
        text_kind="product review",
        has_scenarios=False,  # E1 and B1 leave Amazon out
        has_context=True,
    ),
    "reddit_comments": SourceFacts(
        title="Reddit comments, one slice per subreddit (S5)",
        label="Reddit comments",
        site="reddit",
        rules=CommentRules,
        has_profiles=False,  # commenters have theirs as Reddit users
        has_scenarios=False,
        answers="reddit",
    ),
}

SourceName = Annotated[str, AfterValidator(lambda name: check_name(name, "source", SOURCES))]
"""A source, in a profile."""
