"""Thresholds: what the filter SQL, the prompts' limits and the Great Expectations suites read alike, in one place.

Defaults are the paper's values (HumanLLM, KDD 2026, sections 2.1-3.1) where it prints one; a profile overrides them. All of it
is identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, create_model

from resources.sources import SOURCES, SourceName
from resources.strict import Strict

Share = Annotated[float, Field(ge=0, le=1)]


def _ordered(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("a band is [lowest share, highest share]")
    return band


Band = Annotated[tuple[Share, Share], AfterValidator(_ordered)]


class SourceBands(Strict):
    """Contract of the funnel, a warning: the share of its rows that a stage of a source keeps lies in this band; null = no band.

    `filtering`: rules and labels together, of raw texts; `rules`, `labels`: each of the rows that reached it; `qc_*`: of what was
    synthesized; `by_rule`: of the rows that reached a rule, by its reason.
    """

    filtering: Band | None = None
    rules: Band | None = None
    labels: Band | None = None
    qc_users: Band | None = None
    qc_scenarios: Band | None = None
    qc_social_qa: Band | None = None
    by_rule: dict[str, Band] = {}


class Caps(Strict):
    """How much of a slice enters the LLM stages; null = all (the paper). Users are drawn by a stable hash of their name, the records
    of a user by one of their id: at most users times records of a slice are asked about."""

    max_users_per_slice: int | None = None
    max_records_per_user: int | None = None
    min_records_in_slice: int = 1


if TYPE_CHECKING:
    Rules = Strict
    Bands = Strict
    SourceCaps = Strict
else:  # one field per source, so that a profile's keys are checked and a contract can name `rules.reddit.min_chars`
    Rules = create_model("Rules", __base__=Strict, **{name: (facts.rules, facts.rules()) for name, facts in SOURCES.items()})
    SourceCaps = create_model("SourceCaps", __base__=Strict, **{name: (Caps | None, None) for name in SOURCES})
    Bands = create_model("Bands", __base__=Strict, **{name: (SourceBands, SourceBands()) for name in SOURCES})


class Labels(Strict):
    """F5 and F6: which rewritten texts are believed and which labels are kept."""

    min_kept: Share = 0.7  # of the source's words, those that stand in the text, in their order; cleaning loses few of them
    max_added: Share = 0.3  # of the text's words, those that do not come from the source: they have been made up

    keep_quality: list[Literal["high", "medium", "low"]] = ["high"]
    keep_harmful: list[Literal["yes", "no"]] = ["no"]


class Users(Strict):
    """A user needs this many filtered records over all slices of the source to be synthesized (criterion 1 of section 2)."""

    min_records: int = 2
    min_records_of: dict[SourceName, int] = {}  # of a source named here, in place of `min_records`
    persona_share: float = Field(
        default=0.7, gt=0, le=1
    )  # the first share of a user's records, by time, feeds P1-P4; later ones are targets
    qa_per_kind: int = Field(default=2, ge=1, le=8)  # B1: triplets of each kind from a record; the paper says "several"
    qa_targets_only: bool = False  # B1 only for targets, the ones that T3 can ask about; the paper asks about every record

    def fewest_records(self, source: str | None) -> int:
        """How many records a user of a source needs: the source's own number, or that of all sources."""
        return self.min_records if source is None else self.min_records_of.get(source, self.min_records)


class Words(Strict):
    """Word limits of the synthesized texts (section 2.2)."""

    persona_max: int = 100
    profile_min: int = 100
    profile_max: int = 400
    min_share_within: Share = 0.9  # contract: at least this share of the texts keeps them, after being asked again


class Qc(Strict):
    """Q3: a sample is kept when overall > overall_above and every other applicable metric > metric_above."""

    overall_above: float = 8
    metric_above: float = 7
    reason_first: bool = True  # the judge says why before it scores; a score that comes first decides what is said for it
    min_pass_rate: float = 0.1  # contract: fewer kept items than this share means a broken judge or synthesizer
    kept_bands: dict[str, dict[Literal["users", "scenario", "qa"], tuple[Share, Share]]] = {
        "reddit": {"users": (0.64, 0.84), "scenario": (0.32, 0.52), "qa": (0.51, 0.71)},
        "twitter": {"users": (0.62, 0.82), "scenario": (0.35, 0.55), "qa": (0.50, 0.70)},
        "blogger": {"users": (0.64, 0.84), "scenario": (0.33, 0.53), "qa": (0.17, 0.37)},
        "amazon": {"users": (0.48, 0.68)},
    }
    """Q4, a warning: lowest and highest share that the judge keeps, by source and kind; the paper's Table A1, 0.1 to either side. A
    user is kept with persona and profile."""


Gate = Literal[
    "repeated_words", "repeated_sentences", "prompt_echo", "foreign_share", "assistant_talk", "markup", "copied_answer",
    "copied_record", "unknown_numbers", "unknown_names", "near_duplicate",
]  # fmt: skip
GATES: tuple[Gate, ...] = get_args(Gate)
"""In the order in which a failing one is named."""
STOPPED_BY = "gate:"
"""Begins the reason why a text that a gate stopped was dropped; the gate's name follows."""
RECORD_GATES: tuple[Gate, ...] = ("repeated_words", "prompt_echo", "foreign_share", "assistant_talk", "markup")
"""Those that a rewritten record passes too."""


class Gates(Strict):
    """What plain code measures of a text before a model judges it: the highest value that passes (docs/gates.md). A text beyond it
    goes no further."""

    repeated_words: Share = 0.2
    repeated_sentences: int = 1
    prompt_echo: int = 7
    foreign_share: Share = 0.2
    assistant_talk: int = 0
    markup: int = 0
    copied_answer: Share = 0.4
    copied_record: int = 7
    unknown_numbers: int = 1
    unknown_names: int = 2
    near_duplicate: Share = 0.8
    warn: list[Gate] = []  # gates beyond which a text goes on, with a warning
    max_stopped: Share = 0.3  # contract: more of a source's items that go no further mean a broken synthesizer

    def first_failing(self, measures: Mapping[str, float | None]) -> Gate | None:
        """The gate that a text does not pass; None when it goes on. What was not measured passes."""
        return next((g for g in GATES if g not in self.warn and (measures.get(g) or 0) > getattr(self, g)), None)

    def lists(self, names: Sequence[Gate]) -> dict[str, list[dict[str, str]]]:
        """What a contract reads of these gates: those that stop a text and those that warn."""
        return {
            "stopping": [{"gate": g} for g in names if g not in self.warn],
            "warning": [{"gate": g} for g in names if g in self.warn],
        }

    def only(self, names: Sequence[Gate]) -> dict[str, Any]:
        """What decides about some gates alone, for the identity of an asset that applies no others."""
        return {g: getattr(self, g) for g in names} | {"warn": sorted({*names} & {*self.warn})}


class Calibration(Strict):
    """How a judge is measured before its scores count: on copies of our own items, damaged by plain code."""

    items: int = Field(default=40, ge=0)  # originals of each item kind; 0 = the judge is not measured
    copies: int | None = Field(default=None, ge=1)  # damaged copies of each; null = one for every kind of damage
    sources: list[str] = []  # whose items are taken; none named = the profile's first source that has such items
    min_auc: Share = 0.7  # how often an original must score above a copy whose damage the metric is there to notice
    min_repeat_agreement: Share = 0.8  # share of repeated scores that must lie within one point of the first
    severity: Literal["critical", "warning"] = (
        "critical"  # whether a judge below these may not publish scores, or may with a note
    )


class Failures(Strict):
    """Contract: at most this share of a partition may be unreadable (quarantine), unanswered (LLM failures) or, on a benchmark,
    answered without a valid choice (a warning)."""

    max_quarantine_rate: float = 0.05
    max_llm_failure_rate: float = 0.05
    max_invalid_rate: float = 0.2
    max_share_error: float = 0.02  # a recipe's `mix`: largest difference of a share of the trained samples from the one asked for


def _lettered(options: int) -> int:
    if not 2 <= options <= len(ascii_uppercase):
        raise ValueError(f"options are named by letters, so there can be 2 to {len(ascii_uppercase)} of them, not {options}")
    return options


class Tasks(Strict):
    """T1-T7. Shares are equalised by capping each task-source pair; null = no cap."""

    test_fraction: Share = 0.1
    max_samples_per_pair: int | None = 60_000
    candidates: Annotated[int, AfterValidator(_lettered)] = 20  # T6: 1 bought + 19 random
    max_history: int = 30
    max_comments: int = 5
    writing_history: int = 5


class Contamination(Strict):
    """What of the held-out texts may stand in the training data: a text leaks when one training sample holds `min_share` of its
    n-grams, or `min_longest` of its words in a row."""

    words: int = Field(default=8, ge=3)  # n of the n-grams, as in the overlap figures that PaLM was published with
    stock_users: int = Field(default=20, ge=1)  # an n-gram that more users of the training split share is a stock phrase
    min_shared: int = Field(default=8, ge=1)  # fewer shared n-grams are chance; a text too short to have them is not compared
    min_share: Share = 0.3  # near-duplicates with about every seventh word changed still reach it
    min_longest: int = Field(default=40, ge=3)  # words
    max_leaking: Share = 0.01  # contract: of the items of a held-out set and task
    severity: Literal["critical", "warning"] = "critical"  # whether more than that may be trained and scored, with a note


class Thresholds(Strict):
    """All thresholds of a profile."""

    rules: Rules = Rules()
    labels: Labels = Labels()
    caps: Caps = Caps()
    source_caps: SourceCaps = SourceCaps()  # of a source named here; they stand in place of `caps`, all of them
    users: Users = Users()
    words: Words = Words()
    gates: Gates = Gates()
    qc: Qc = Qc()
    calibration: Calibration = Calibration()
    failures: Failures = Failures()
    tasks: Tasks = Tasks()
    contamination: Contamination = Contamination()
    bands: Bands = Bands()

    def bands_of(self, source: str) -> SourceBands:
        """The bands of a source's shares in the funnel."""
        return dict(self.bands)[source]

    def rules_of(self, source: str) -> Strict:
        """The thresholds of a source's rules, of the type that `resources/sources.py` declares for it."""
        return dict(self.rules)[source]

    def caps_of(self, source: str) -> Caps:
        """The caps of a source: its own, or those of all sources."""
        return dict(self.source_caps)[source] or self.caps
