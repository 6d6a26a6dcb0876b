"""Applications (V4): a model writes for people of the test split, a judge scores the text 1-10.

Profile generation, human explainer and personalized writing take the open prompts of T1, T3 and T4; the judge sees task, true
text and answer. Figure 2 and tables B2-B4 hold the means.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import Failed, Question, Sink, Tally, Verbatim, replies
from humanllm_assets.evaluation.benchmarks import Kind, add_nothing
from humanllm_assets.evaluation.contest import Built, Contest
from humanllm_assets.evaluation.estimates import average, estimate, summary_row
from humanllm_assets.evaluation.items import choose_samples, read_test_samples
from humanllm_assets.evaluation.report_parts import Column, Layout, Results, SummaryKey
from humanllm_assets.pages import plots
from humanllm_assets.pages.page import Figure, Section
from humanllm_assets.partitions import Partitions, parse_pair
from resources.item_kinds import read_score
from resources.profile import Benchmark, Profile, ProfileError, Role
from resources.prompting.prompts import Prompt

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]
_NOT_CALIBRATED = "Judge not calibrated: the one of contestants' texts (application_judge) was never measured."
Score = Annotated[int, Field(ge=1, le=10), BeforeValidator(read_score)]


class _Scores(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProfileScores(_Scores):
    """What the judge scores in a generated profile (table B2)."""

    faithfulness: Score
    realism: Score
    coverage: Score


class ExplainerScores(_Scores):
    """What the judge scores in an explanation of a person's behaviour (table B3)."""

    contextual_relevance: Score
    logical_consistency: Score
    alignment: Score


class WritingScores(_Scores):
    """What the judge scores in a text written in a person's style (table B4)."""

    style_match: Score
    content_relevance: Score
    content_similarity: Score


class Application(NamedTuple):
    """task, subtasks: which test samples it takes. paper_table: where the paper prints its means."""

    task: str
    subtasks: tuple[str, ...]
    scores: type[BaseModel]
    paper_table: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the judge scores, 1-10 each."""
        return tuple(self.scores.model_fields)


APPLICATIONS = {
    "profile_generation": Application("profile_generation", ("profile",), ProfileScores, "B2"),
    "human_explainer": Application("social_qa", ("next_action", "mental_state", "social_reasoning"), ExplainerScores, "B3"),
    "personalized_writing": Application("writing_imitation", ("by_topic",), WritingScores, "B4"),
}


def application(name: str | None, benchmark: str) -> Application:
    """The application that a benchmark's `subset` names.

    Raises:
        ProfileError: there is none of that name.
    """
    if name not in APPLICATIONS:
        raise ProfileError(
            f"benchmarks.{benchmark}: there is no application `{name}`; set `subset` to one of: {', '.join(APPLICATIONS)}"
        )
    return APPLICATIONS[name]


def list_pairs(parts: Partitions, benchmark: str) -> tuple[str, ...]:
    """All pairs of the application's task."""
    wanted = application(parts.profile.benchmarks[benchmark].subset, benchmark).task
    return tuple(p for p in parts.pairs if parse_pair(p)[0] == wanted)


def judge_identity(profile: Profile, benchmark: Benchmark) -> dict[str, Any]:
    """The judge's model, sampling and prompt."""
    return {"judge": llm_identity(profile, "application_judge", [f"judge_application_{benchmark.subset}"])}


def build(step: Step, counts: Tally, sink: Sink) -> Built:
    """The task's prompts for people of the test split."""
    b = step.profile.benchmarks[step.partition]
    return Built(application_items(read_test_samples(step), step.partition, str(b.subset), b.max_items))


def application_items(samples: Iterable[Row], benchmark: str, name: str, max_items: int | None = None) -> list[Row]:
    """Rows of `benchmark_items`: the prompt of the task, and the true text as the one option, labelled `reference`."""
    app = application(name, benchmark)
    return [
        {
            "item_id": f"{benchmark}:{s['sample_id']}",
            "benchmark": benchmark,
            "task": s["task"],
            "source": s["source"],
            "user_id": s["user_id"],
            "distractor_set": "fixed",
            "control": "none",
            "prompt": orjson.loads(s["conversations"])[0]["value"],
            "options": orjson.dumps([{"label": "reference", "text": s["answer"], "origin": "gold"}]).decode(),
            "correct": "reference",
            "sample_id": s["sample_id"],
            "record_ids": s["record_ids"],
        }
        for s in choose_samples(samples, app.task, app.subtasks, benchmark, max_items)
    ]


def answer(contest: Contest) -> list[Row]:
    """Ask the contestant for a text, then the judge about each text that came; rows of `application_answers`."""
    step, items, name = contest.step, contest.items, str(contest.benchmark.subset)
    judge = step.profile.roles["application_judge"]

    def ask(role: Role, questions: Iterator[Question], label: str) -> dict[str, Any]:
        asked = replies(step.engine, role, questions, contest.counts, contest.sink, label=label, log=step.log, total=len(items))
        return {question.key: value for question, value in asked if not isinstance(value, Failed)}

    texts = {key: text.strip() for key, text in ask(contest.role, application_questions(name, items), step.partition).items()}
    verdicts = ask(judge, judge_questions(name, items, texts), f"judge {step.partition}")
    return list(application_answers(name, contest.contestant, items, texts, verdicts))


def application_questions(name: str, items: Iterable[Row]) -> Iterator[Question]:
    """What the contestant is asked: the items' prompts as they stand."""
    prompt = Verbatim(f"application_{name}")
    for item in items:
        yield Question(item["item_id"], item["user_id"], prompt, {"text": item["prompt"]}, item)


def judge_questions(name: str, items: Iterable[Row], texts: Mapping[str, str]) -> Iterator[Question]:
    """What the judge is asked about each text that the contestant gave, by item_id."""
    prompt = Prompt.load(f"judge_application_{name}")
    for item in items:
        if text := texts.get(item["item_id"]):
            values = {"task": item["prompt"], "reference": orjson.loads(item["options"])[0]["text"], "answer": text}
            yield Question(item["item_id"], item["user_id"], prompt, values, item)


def application_answers(
    name: str, contestant: str, items: Iterable[Row], texts: Mapping[str, str], verdicts: Mapping[str, BaseModel]
) -> Iterator[Row]:
    """Rows of `application_answers`, one per item and metric (item_id `<item>#<metric>`).

    score is null where the contestant or the judge gave nothing: such rows lower no mean, and are shown as a rate.
    """
    for item in items:
        verdict = verdicts.get(item["item_id"])
        for metric in application(name, item["benchmark"]).metrics:
            yield {
                "item_id": f"{item['item_id']}#{metric}",
                "benchmark": item["benchmark"],
                "contestant": contestant,
                "reply": texts.get(item["item_id"]) or "",
                "metric": metric,
                "score": None if verdict is None else getattr(verdict, metric),
                "user_id": item["user_id"],
            }


def summarise(items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Mean score per metric, `average` of the metrics, and unscored_rate."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for a in answers:
        groups[a["benchmark"], a["contestant"]].append(a)
    rows = []
    for (benchmark, contestant), own in sorted(groups.items()):
        metrics = {
            m: [(a["user_id"], float(a["score"])) for a in own if a["metric"] == m and a["score"] is not None]
            for m in dict.fromkeys(a["metric"] for a in own)
        }
        found = {m: estimate(v) for m, v in metrics.items()}
        found["average"] = average(metrics)
        found["unscored_rate"] = estimate((a["user_id"], float(a["score"] is None)) for a in own)
        rows += [summary_row(e, benchmark=benchmark, contestant=contestant, metric=m) for m, e in found.items() if e]
    return rows


def tables(benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """Tables B2-B4."""
    layouts = []
    for name, app in APPLICATIONS.items():
        columns = [
            Column(m.replace("_", " ").title(), k, m, "fixed")
            for k, b in benchmarks.items()
            if b.subset == name
            for m in app.metrics
        ]
        title = f"Table {app.paper_table}: {name.replace('_', ' ')}"
        layouts.append(Layout(title, app.paper_table, columns, 4, f"Mean of the judge's scores, 1-10. {_NOT_CALIBRATED}"))
    return layouts


def sections(benchmarks: Mapping[str, Benchmark], results: Results) -> list[Section]:
    """Figure 2: mean scores of the contestants that are compared, one figure for each benchmark."""
    section = Section("Figure 2: applications", [_NOT_CALIBRATED])
    for key, b in benchmarks.items():
        groups: dict[str, dict[str, plots.Bar]] = {}
        for metric in application(b.subset, key).metrics:
            keys = {c: SummaryKey(key, c, "fixed", "none", metric) for c in results.contestants}
            groups[metric.replace("_", " ")] = {c: results.found[k][:3] for c, k in keys.items() if k in results.found}
        if any(groups.values()):
            title = str(b.subset).replace("_", " ")
            svg = plots.bars(title, groups, "mean score, 1-10")
            section.figures.append(Figure(svg, f"{title.capitalize()} (benchmark {key}): mean score with interval."))
    if not section.figures:
        section.texts[:] = ["Not run."]
    return [section]


KIND = Kind(
    place=5,
    roles=("application_judge",),
    answers_table="application_answers",
    pairs=list_pairs,
    items_identity=add_nothing,
    build=build,
    scores_identity=judge_identity,
    answer=answer,
    summarise=summarise,
    tables=tables,
    sections=sections,
)
