"""Applications (V4): a model writes for people of the test split, a judge scores the text 1-10.

Profile generation, human explainer and personalized writing take the open prompts of T1, T3 and T4; the judge sees task, true
text and answer. Figure 2 and tables B2-B4 hold the means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field

from humanllm_assets.evaluation.items import choose_samples
from humanllm_assets.tasks.rendering import template
from resources.llm.requests import LLMReply, LLMRequest

Row = dict[str, Any]
Score = Annotated[int, Field(ge=1, le=10)]


class _Scores(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProfileScores(_Scores):
    faithfulness: Score
    realism: Score
    coverage: Score


class ExplainerScores(_Scores):
    contextual_relevance: Score
    logical_consistency: Score
    alignment: Score


class WritingScores(_Scores):
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
        return tuple(self.scores.model_fields)


APPLICATIONS = {
    "profile_generation": Application("profile_generation", ("profile",), ProfileScores, "B2"),
    "human_explainer": Application("social_qa", ("next_action", "mental_state", "social_reasoning"), ExplainerScores, "B3"),
    "personalized_writing": Application("writing_imitation", ("by_topic",), WritingScores, "B4"),
}


def application(name: str) -> Application:
    """Raises KeyError with the known names when there is no such application."""
    if name not in APPLICATIONS:
        raise KeyError(f"there is no application `{name}`; set the benchmark's `subset` to one of: {', '.join(APPLICATIONS)}")
    return APPLICATIONS[name]


def application_items(samples: Iterable[Row], benchmark: str, name: str, max_items: int | None = None) -> list[Row]:
    """Rows of `benchmark_items`: the prompt of the task, and the true text as the one option, labelled `reference`."""
    app = application(name)
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


def application_requests(items: Iterable[Row]) -> Iterator[LLMRequest]:
    """What the contestant is asked."""

    for item in items:
        yield LLMRequest(key=item["item_id"], messages=(("user", item["prompt"]),), schema=None, subject=item["user_id"])


def reply_text(reply: LLMReply) -> str | None:
    """The contestant's text. A reply that reached the token limit counts as it stands; another failure is None."""
    if isinstance(reply.value, str) and reply.value.strip():
        return reply.value.strip()
    return reply.raw.strip() or None if reply.reason == "cut_off" else None


def judge_requests(name: str, items: Iterable[Row], texts: Mapping[str, str | None]) -> Iterator[LLMRequest]:
    """What the judge is asked about each text that the contestant gave."""

    prompt, schema = template(f"judge_application_{name}"), application(name).scores
    for item in items:
        if text := texts.get(item["item_id"]):
            reference = orjson.loads(item["options"])[0]["text"]
            messages = prompt.render(task=item["prompt"], reference=reference, answer=text)
            yield LLMRequest(key=item["item_id"], messages=messages, schema=schema, subject=item["user_id"])


def application_answers(
    name: str, contestant: str, items: Iterable[Row], texts: Mapping[str, str | None], verdicts: Mapping[str, BaseModel | None]
) -> Iterator[Row]:
    """Rows of `application_answers`, one per item and metric (item_id `<item>#<metric>`).

    score is null where the contestant or the judge gave nothing: such rows lower no mean, and are shown as a rate.
    """
    for item in items:
        verdict = verdicts.get(item["item_id"])
        for metric in application(name).metrics:
            yield {
                "item_id": f"{item['item_id']}#{metric}",
                "benchmark": item["benchmark"],
                "contestant": contestant,
                "reply": texts.get(item["item_id"]) or "",
                "metric": metric,
                "score": None if verdict is None else getattr(verdict, metric),
                "user_id": item["user_id"],
            }
