"""Asking and scoring of choice questions (V1-V3), and their summaries.

The same questions go to every model; an invalid reply is wrong and shown as a rate; intervals resample users (or scenarios and
stories), never single answers; differences between two models are paired over the same questions.

What belongs here: requests, strict parsing, arithmetic. What does not: building questions, HTML.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from humanllm_assets.asking.questions import Failed, Question, Ranked, replies
from humanllm_assets.evaluation.contest import Contest
from humanllm_assets.evaluation.controls import CONTROLS, MIN_DISTRACTORS
from humanllm_assets.evaluation.differences import difference, unit_of
from humanllm_assets.evaluation.estimates import Estimate, estimate, summary_row
from humanllm_assets.tasks.labels import LABELS
from resources.profile import Benchmark, Profile
from resources.prompting.prompts import Prompt

Row = dict[str, Any]
TOP_LOGPROBS = 20
PROMPT = "benchmarks/choice"
_STRICT = re.compile(r"\A[\s\[(*\"']*([A-Z])(?:[\])*\"'.:][\s\S]*)?\s*\Z")


def choice_identity(profile: Profile, benchmark: Benchmark) -> dict[str, Any]:
    """What decides answers to choice questions beside items, contestant and sampling: the template."""
    return {"template": Prompt.load(PROMPT).identity}


def answer_choices(contest: Contest, first_character: bool = False) -> list[Row]:
    """Ask the contestant every question; rows of `answers`, see `score_choices`."""
    own = (contest.base_model,)
    step, items = contest.step, contest.items
    asked = replies(
        step.engine,
        contest.role,
        choice_questions(items, own),
        contest.counts,
        contest.sink,
        label=step.partition,
        log=step.log,
        total=len(items),
    )
    return list(score_choices(asked, contest.contestant, own, first_character))


def shown_options(item: Row, own_models: Iterable[str] = ()) -> list[Row]:
    """The options as one contestant sees them, relabelled from A: without those its own base model wrote.

    A model would otherwise be asked whether its own text is the true one. Where fewer than three distractors would be left (a
    profile whose only writer is the contestant's base model), all are shown; `n_options` of the answer tells.
    `item_label` keeps the label of the item.
    """
    options = orjson.loads(item["options"])
    own = {f"llm:{m}:" for m in own_models}
    others = [o for o in options if not any(o["origin"].startswith(p) for p in own)]
    chosen = others if len(others) > MIN_DISTRACTORS else options
    return [{**o, "item_label": o["label"], "label": label} for label, o in zip(LABELS, chosen, strict=False)]


def choice_questions(items: Iterable[Row], own_models: Iterable[str] = ()) -> Iterator[Question]:
    """One question per item: prompt, lettered options, the order to answer by the letter alone; top 20 log-probabilities."""
    own = tuple(own_models)
    prompt = Prompt.load(PROMPT)
    for item in items:
        chinese = item["distractor_set"] == "fixed" and item["source"] == "zh"
        values = {"prompt": item["prompt"], "options": shown_options(item, own), "chinese": chinese}
        yield Question(item["item_id"], item["user_id"] or "", prompt, values, item, TOP_LOGPROBS)


def parse_choice(reply: str, labels: Sequence[str], first_character: bool = False) -> str | None:
    """The label that a reply stands for, or None when it is invalid.

    Valid: the capital letter alone, in brackets or quotes, or followed by `.` `)` `]` `:` and anything ("B", "(B)", "[[B]]",
    "B. Read on"). A letter that begins a word or sentence ("A person", "Because") is no answer; nothing is searched for later in
    the reply. first_character: MotiveBench's own rule, the first character of the reply is the answer.
    """
    if first_character:
        head = reply.strip()[:1]
        return head if head in labels else None
    match = _STRICT.match(reply)
    return match[1] if match and match[1] in labels else None


def label_rank(top: Sequence[tuple[str, float]], labels: Sequence[str], correct: str) -> int | None:
    """Rank of the correct label among the labels by log-probability of the first token, 1 = best.

    None when the correct label is not among the returned tokens. Tokens that differ by white space alone count together, by the
    largest; on equal log-probabilities the correct label comes last.
    """
    best: dict[str, float] = {}
    for token, logprob in top:
        label = token.strip()
        if label in labels:
            best[label] = max(best.get(label, logprob), logprob)
    if correct not in best:
        return None
    return 1 + sum(v >= best[correct] for k, v in best.items() if k != correct)


def score_choices(
    asked: Iterable[tuple[Question, Ranked | Failed]],
    contestant: str,
    own_models: Iterable[str] = (),
    first_character: bool = False,
) -> Iterator[Row]:
    """Rows of `answers`, one per answered question (whose row is the item), in the order given; `n_options`: how many were shown.

    `chosen` and `correct` are labels of the item; `position` is the place of the true option as shown. A question without an
    answer has no row: it is neither right nor wrong, and stands in `failures`.
    """
    own = tuple(own_models)
    for question, reply in asked:
        if isinstance(reply, Failed):
            continue
        item = question.row
        options = shown_options(item, own)
        labels = [o["label"] for o in options]
        position = next(n for n, o in enumerate(options) if o["item_label"] == item["correct"])
        label = parse_choice(reply.text, labels, first_character)
        chosen = None if label is None else options[labels.index(label)]["item_label"]
        yield {
            "item_id": item["item_id"],
            "benchmark": item["benchmark"],
            "contestant": contestant,
            "distractor_set": item["distractor_set"],
            "control": item["control"],
            "reply": reply.text,
            "chosen": chosen,
            "correct": item["correct"],
            "is_correct": chosen == item["correct"],
            "rank": label_rank(reply.top, labels, labels[position]),
            "position": position,
            "user_id": item["user_id"],
            "n_options": len(options),
        }


# ---- summaries -------------------------------------------------------------------------------------------------------


def summarise_choices(items: Iterable[Row], answers: Iterable[Row]) -> list[Row]:
    """Rows of SUMMARY for one benchmark and any number of contestants.

    Metrics, per set of distractors and control: accuracy, invalid_rate, hit_at_1 and mrr (from log-probabilities; only where the
    engine gave any; a label beyond the top 20 counts 0), chance, `accuracy_at_<place>` by place of the true option (from 0),
    `accuracy:<subset>` by source for in-domain questions and by ability for public ones. With control `none` also
    `minus_<control>` (score minus control, paired over questions) and, for item selection, popularity (accuracy of always
    choosing what most training users bought; ties share).
    """
    by_id = {i["item_id"]: i for i in items}
    groups: dict[tuple[str, str, str, str], list[Row]] = defaultdict(list)
    for a in answers:
        groups[a["benchmark"], a["contestant"], a["distractor_set"], a["control"]].append(a)
    rows: list[Row] = []
    for key, own in sorted(groups.items()):
        found: dict[str, Estimate | None] = {
            "accuracy": estimate(_correct(own)),
            "invalid_rate": estimate((unit_of(a), float(a["chosen"] is None)) for a in own),
            "chance": estimate((unit_of(a), 1 / a["n_options"]) for a in own),
        }
        if any(a["rank"] for a in own):
            found["hit_at_1"] = estimate((unit_of(a), float(a["rank"] == 1)) for a in own)
            found["mrr"] = estimate((unit_of(a), 1 / a["rank"] if a["rank"] else 0.0) for a in own)
        for place in sorted({a["position"] for a in own}):
            found[f"accuracy_at_{place}"] = estimate(_correct(a for a in own if a["position"] == place))
        for subset in sorted({_subset(by_id[a["item_id"]]) for a in own}):
            found[f"accuracy:{subset}"] = estimate(_correct(a for a in own if _subset(by_id[a["item_id"]]) == subset))
        if key[3] == "none":
            for control in CONTROLS[1:]:
                found[f"minus_{control}"] = difference(groups.get((*key[:3], control), []), own, _without_control)
            if key[2] == "catalogue":
                found["popularity"] = estimate((unit_of(a), _popular(by_id[a["item_id"]])) for a in own)
        names = dict(zip(("benchmark", "contestant", "distractor_set", "control"), key, strict=True))
        rows += [summary_row(e, **names, metric=m) for m, e in found.items() if e]
    return rows


# ---- small pieces ----------------------------------------------------------------------------------------------------


def _correct(answers: Iterable[Row]) -> list[tuple[str, float]]:
    return [(unit_of(a), float(a["is_correct"])) for a in answers]


def _subset(item: Row) -> str:
    return item["task"] if item["distractor_set"] == "fixed" else item["source"]


def _without_control(answer: Row) -> str:
    return answer["item_id"].rpartition(":")[0]


def _popular(item: Row) -> float:
    options = orjson.loads(item["options"])
    most = max(o["popularity"] for o in options)
    best = [o["label"] for o in options if o["popularity"] == most]
    return 1 / len(best) if item["correct"] in best else 0.0
