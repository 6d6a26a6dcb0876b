"""Thresholds: what the filter SQL, the prompts' limits and the Great Expectations suites read alike, in one place.

Defaults are the paper's values (HumanLLM, KDD 2026, sections 2.1-3.1) where it prints one; a profile overrides them. All of it
is identity.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # a value can be a key by mistake


class RedditRules(Strict):
    min_score: int = 2
    min_comments: int = 2
    score_and_comments: Literal["and", "or"] = "and"  # the paper's text says and; its released code drops only if both fail
    min_chars: int = 300


class TwitterRules(Strict):
    min_chars: int = 300
    trailing_link_is_quote: bool = False  # a tweet that ends in a t.co link may quote another one, or carry a photo or an article


class BloggerRules(Strict):
    min_chars: int = 300
    first_person: bool = True
    min_age: int = 0  # the paper takes every blogger; the full corpus has 8,240 minors, whom 18 leaves out


class AmazonRules(Strict):
    min_chars: int = 100
    min_item_purchases: int = 3
    min_user_purchases: int = 8


class CommentRules(Strict):
    """Reddit comments (S5): the paper states no rule; these keep comments that say something about a known post."""

    min_chars: int = 50
    min_score: int = 1


class Rules(Strict):
    reddit: RedditRules = RedditRules()
    twitter: TwitterRules = TwitterRules()
    blogger: BloggerRules = BloggerRules()
    amazon: AmazonRules = AmazonRules()
    reddit_comments: CommentRules = CommentRules()


class Labels(Strict):
    """F5 and F6: which rewritten texts are believed and which labels are kept. Lengths are shares of the source's characters."""

    min_left: float = 0.25  # a small model may give back a title alone; what F5 removes from a real text is far less
    max_growth: float = 1.5  # cleaning removes or replaces; a longer text has been made up

    keep_quality: list[Literal["high", "medium", "low"]] = ["high"]
    keep_harmful: list[Literal["yes", "no"]] = ["no"]


class Caps(Strict):
    """How much of a slice enters the LLM stages; null = all (the paper). Users are drawn by a stable hash of their name."""

    max_users_per_slice: int | None = None
    max_records_per_user: int | None = None
    min_records_in_slice: int = 1


class Users(Strict):
    """A user needs this many filtered records over all slices of the source to be synthesized (criterion 1 of section 2)."""

    min_records: int = 2
    persona_share: float = Field(
        default=0.7, gt=0, le=1
    )  # the first share of a user's records, by time, feeds P1-P4; later ones are targets
    qa_targets_only: bool = False  # B1 only for targets, the ones that T3 can ask about; the paper asks about every record


class Words(Strict):
    """Word limits of the synthesized texts (section 2.2)."""

    persona_max: int = 100
    profile_min: int = 100
    profile_max: int = 400
    min_share_within: float = 0.9  # contract: at least this share of the items respects its limits


class Qc(Strict):
    """Q3: a sample is kept when overall > overall_above and every other applicable metric > metric_above."""

    overall_above: float = 8
    metric_above: float = 7
    min_pass_rate: float = 0.1  # contract: fewer kept items than this share means a broken judge or synthesizer


class Failures(Strict):
    """Contract: at most this share of a partition may be unreadable (quarantine), unanswered (LLM failures) or, on a benchmark,
    answered without a valid choice (a warning)."""

    max_quarantine_rate: float = 0.05
    max_llm_failure_rate: float = 0.05
    max_invalid_rate: float = 0.2


class Tasks(Strict):
    """T1-T7. Shares are equalised by capping each task-source pair; null = no cap."""

    test_fraction: float = 0.1
    max_samples_per_pair: int | None = 60_000
    candidates: int = 20  # T6: 1 bought + 19 random
    max_history: int = 30
    max_comments: int = 5
    writing_history: int = 5


class Thresholds(Strict):
    rules: Rules = Rules()
    labels: Labels = Labels()
    caps: Caps = Caps()
    users: Users = Users()
    words: Words = Words()
    qc: Qc = Qc()
    failures: Failures = Failures()
    tasks: Tasks = Tasks()
