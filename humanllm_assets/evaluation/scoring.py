"""Asking and scoring of choice questions, and the numbers of the benchmark tables (V1-V5).

The same questions go to every model; an invalid reply is wrong and shown as a rate; intervals resample users (or scenarios and
stories), never single answers; differences between two models are paired over the same questions.

What belongs here: requests, strict parsing, arithmetic. What does not: building questions, HTML.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from humanllm_assets.evaluation.fixed import TOM_GROUPS, ability_group
from humanllm_assets.evaluation.items import CONTROLS, MIN_DISTRACTORS
from humanllm_assets.tasks.rendering import LABELS, template
from resources.llm.requests import LLMReply, LLMRequest
from resources.profile import Benchmark, Role

Row = dict[str, Any]
TOP_LOGPROBS = 20
DRAWS = 1000
_STRICT = re.compile(r"\A[\s\[(*\"']*([A-Z])(?:[\])*\"'.:][\s\S]*)?\s*\Z")


def choice_role(base: Role, benchmark: Benchmark, model: str) -> Role:
    """How a contestant samples on a benchmark: temperature and length of the benchmark; MotiveBench's repetition penalty 1.05."""
    penalty = 1.05 if benchmark.kind == "motivebench" else base.repetition_penalty
    update = {
        "model": model,
        "temperature": benchmark.temperature,
        "max_tokens": benchmark.max_tokens,
        "repetition_penalty": penalty,
    }
    return base.model_copy(update=update)


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


def choice_requests(items: Iterable[Row], own_models: Iterable[str] = ()) -> Iterator[LLMRequest]:
    """One request per question: prompt, lettered options, the order to answer by the letter alone; top 20 log-probabilities."""

    own = tuple(own_models)
    ask = template("benchmarks/choice")
    for item in items:
        chinese = item["distractor_set"] == "fixed" and item["source"] == "zh"
        messages = ask.render(prompt=item["prompt"], options=shown_options(item, own), chinese=chinese)
        yield LLMRequest(
            key=item["item_id"], messages=messages, schema=None, subject=item["user_id"] or "", logprobs=TOP_LOGPROBS
        )


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


def score_replies(
    items: Iterable[Row],
    replies: Iterable[LLMReply],
    contestant: str,
    own_models: Iterable[str] = (),
    first_character: bool = False,
) -> Iterator[Row]:
    """Rows of `answers`, one per reply, in the order of the replies; plus `n_options` (INTEGER), the options that were shown.

    `chosen` and `correct` are labels of the item; `position` is the place of the true option as shown.
    """
    by_id, own = {i["item_id"]: i for i in items}, tuple(own_models)
    for reply in replies:
        item = by_id[reply.key]
        options = shown_options(item, own)
        labels = [o["label"] for o in options]
        position = next(n for n, o in enumerate(options) if o["item_label"] == item["correct"])
        text = reply.value if isinstance(reply.value, str) else reply.raw
        label = parse_choice(text, labels, first_character)
        chosen = None if label is None else options[labels.index(label)]["item_label"]
        yield {
            "item_id": item["item_id"],
            "benchmark": item["benchmark"],
            "contestant": contestant,
            "distractor_set": item["distractor_set"],
            "control": item["control"],
            "reply": text,
            "chosen": chosen,
            "correct": item["correct"],
            "is_correct": chosen == item["correct"],
            "rank": label_rank(reply.top, labels, labels[position]),
            "position": position,
            "user_id": item["user_id"],
            "n_options": len(options),
        }


# ---- bootstrap -------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A mean with its 95% bootstrap interval; n = answers behind it."""

    value: float
    low: float
    high: float
    n: int


Clustered = Iterable[tuple[str, float]]  # (user, value)


def estimate(values: Clustered, seed: int = 0) -> Estimate | None:
    """Mean over answers, interval by resampling users with all their answers; None without answers."""
    return _bootstrap({"": list(values)}, lambda means: means[""], seed)


def average(groups: Mapping[str, Clustered], seed: int = 0) -> Estimate | None:
    """Unweighted mean of the groups' means, as in the paper's Avg. columns, with an interval over users."""
    return _bootstrap({k: list(v) for k, v in groups.items()}, lambda means: sum(means.values()) / len(means), seed)


def _bootstrap(
    groups: dict[str, list[tuple[str, float]]], statistic: Callable[[dict[str, Any]], Any], seed: int
) -> Estimate | None:
    import numpy as np

    groups = {k: v for k, v in groups.items() if v}
    if not groups:
        return None
    users = sorted({u for v in groups.values() for u, _ in v})
    index = {u: i for i, u in enumerate(users)}
    sums, counts = {}, {}
    for name, values in groups.items():
        at = [index[u] for u, _ in values]
        sums[name] = np.bincount(at, weights=[x for _, x in values], minlength=len(users))
        counts[name] = np.bincount(at, minlength=len(users)).astype(float)
    point = statistic({k: sums[k].sum() / counts[k].sum() for k in groups})
    n = sum(map(len, groups.values()))
    if len(users) == 1:
        return Estimate(float(point), float(point), float(point), n)
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        weight = np.bincount(random.integers(0, len(users), len(users)), minlength=len(users))
        drawn = {k: weight @ counts[k] for k in groups}
        if all(drawn.values()):  # a draw without any answer of a group says nothing about it
            draws.append(statistic({k: (weight @ sums[k]) / drawn[k] for k in groups}))
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (point, point)
    return Estimate(float(point), float(low), float(high), n)


# ---- summaries -------------------------------------------------------------------------------------------------------


def summarise(items: Iterable[Row], answers: Iterable[Row]) -> list[Row]:
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
            "invalid_rate": estimate((_unit(a), float(a["chosen"] is None)) for a in own),
            "chance": estimate((_unit(a), 1 / a["n_options"]) for a in own),
        }
        if any(a["rank"] for a in own):
            found["hit_at_1"] = estimate((_unit(a), float(a["rank"] == 1)) for a in own)
            found["mrr"] = estimate((_unit(a), 1 / a["rank"] if a["rank"] else 0.0) for a in own)
        for place in sorted({a["position"] for a in own}):
            found[f"accuracy_at_{place}"] = estimate(_correct(a for a in own if a["position"] == place))
        for subset in sorted({_subset(by_id[a["item_id"]]) for a in own}):
            found[f"accuracy:{subset}"] = estimate(_correct(a for a in own if _subset(by_id[a["item_id"]]) == subset))
        if key[3] == "none":
            for control in CONTROLS[1:]:
                found[f"minus_{control}"] = _difference(groups.get((*key[:3], control), []), own, _without_control)
            if key[2] == "catalogue":
                found["popularity"] = estimate((_unit(a), _popular(by_id[a["item_id"]])) for a in own)
        names = ("benchmark", "contestant", "distractor_set", "control")
        rows += [{**dict(zip(names, key, strict=True)), "metric": m, **_columns(e)} for m, e in found.items() if e]
    return rows


def summary_rows(kind: str, items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Rows of SUMMARY of one benchmark of any kind (`kind` of the profile's benchmark), for all contestants in `answers`.

    ToMBench adds, after majority votes, `pooled:<group>` and `by_ability:<group>` for the six groups and `Avg.`, and
    `pooled:All`.
    """
    if kind == "application":
        return application_summary(answers)
    rows = summarise(items, answers)
    if kind == "tombench":
        for benchmark, contestant in sorted({(a["benchmark"], a["contestant"]) for a in answers}):
            votes = tombench_votes(items, (a for a in answers if a["contestant"] == contestant))
            names = {"benchmark": benchmark, "contestant": contestant, "distractor_set": "fixed", "control": "none"}
            for way, groups in tombench_summary(votes).items():
                rows += [{**names, "metric": f"{way}:{group}", **_columns(e)} for group, e in groups.items()]
    return rows


def compare(base: Iterable[Row], other: Iterable[Row], control: str = "none") -> dict[str, Estimate]:
    """Accuracy of `other` minus accuracy of `base` on the questions both answered, by set of distractors; paired over users."""
    first = [a for a in base if a["control"] == control]
    second = [a for a in other if a["control"] == control]
    found = {
        name: _difference(
            [a for a in first if a["distractor_set"] == name],
            [a for a in second if a["distractor_set"] == name],
            lambda a: a["item_id"],
        )
        for name in sorted({a["distractor_set"] for a in first})
    }
    return {k: v for k, v in found.items() if v}


def application_summary(answers: Iterable[Row]) -> list[Row]:
    """Rows of SUMMARY of application answers: mean score per metric, `average` of the metrics, and unscored_rate."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for a in answers:
        groups[a["benchmark"], a["contestant"]].append(a)
    rows = []
    for (benchmark, contestant), own in sorted(groups.items()):
        metrics = {
            m: [(a["user_id"], float(a["score"])) for a in own if a["metric"] == m and a["score"] is not None]
            for m in _metrics(own)
        }
        found = {m: estimate(v) for m, v in metrics.items()}
        found["average"] = average(metrics)
        found["unscored_rate"] = estimate((a["user_id"], float(a["score"] is None)) for a in own)
        names = {"benchmark": benchmark, "contestant": contestant, "distractor_set": "fixed", "control": "none"}
        rows += [{**names, "metric": m, **_columns(e)} for m, e in found.items() if e]
    return rows


def motivebench_counts(answers: Iterable[Row]) -> tuple[int, int]:
    """k and n of a MotiveBench cell: correct answers of all asked, over the six orders (n = 900 or 1,800 for a whole subset)."""
    rows = list(answers)
    return sum(a["is_correct"] for a in rows), len(rows)


class TomVote(NamedTuple):
    """One ToMBench question after its five asks."""

    question: str
    story: str
    ability: str
    is_correct: bool


def tombench_votes(items: Iterable[Row], answers: Iterable[Row]) -> list[TomVote]:
    """Majority over the asks of each question, of one contestant.

    Votes are counted by original option; an invalid reply votes for nothing; on a tie the option that was voted for first, in the
    order of the asks, wins; a question without a valid vote is wrong.
    """
    by_id = {i["item_id"]: i for i in items}
    asks: dict[str, list[Row]] = defaultdict(list)
    for a in sorted(answers, key=lambda a: a["item_id"]):
        asks[a["item_id"].rpartition("#")[0]].append(a)
    votes = []
    for question, rows in sorted(asks.items()):
        item = by_id[rows[0]["item_id"]]
        chosen = [_origin(by_id[a["item_id"]], a["chosen"]) for a in rows if a["chosen"] is not None]
        winner = Counter(chosen).most_common(1)[0][0] if chosen else None
        votes.append(TomVote(question, item["user_id"], item["task"], winner == _origin(item, item["correct"])))
    return votes


def tombench_summary(votes: Sequence[TomVote]) -> dict[str, dict[str, Estimate]]:
    """Both ways in which the paper's Table 3 averages, with intervals over stories.

    Returns:
        `pooled`: a group's questions pooled (the paper's GPT-4o row); `by_ability`: mean over the group's ability strings exactly
        as in the files, trailing blanks and all (the paper's open models). Each maps the six groups and `Avg.`, the unweighted
        mean of the groups; `pooled` also `All`, over all questions.
    """
    result: dict[str, dict[str, Estimate]] = {"pooled": {}, "by_ability": {}}
    values: dict[str, dict[str, list[tuple[str, float]]]] = {g: defaultdict(list) for g in TOM_GROUPS}
    for v in votes:
        values.setdefault(ability_group(v.ability), defaultdict(list))[v.ability].append((v.story, float(v.is_correct)))
    pooled = {g: [x for vs in abilities.values() for x in vs] for g, abilities in values.items()}
    for group, abilities in values.items():
        _put(result["pooled"], group, estimate(pooled[group]))
        _put(result["by_ability"], group, average(abilities))
    _put(result["pooled"], "Avg.", average(pooled))
    flat = {(g, a): vs for g, abilities in values.items() for a, vs in abilities.items()}
    weights = {key: 1 / len(values[key[0]]) / sum(bool(a) for a in values.values()) for key in flat}
    names = {str(k): k for k in flat}
    overall = _bootstrap(
        {str(k): v for k, v in flat.items()}, lambda means: sum(m * weights[names[k]] for k, m in means.items()), 0
    )
    _put(result["by_ability"], "Avg.", overall)
    _put(result["pooled"], "All", estimate((v.story, float(v.is_correct)) for v in votes))
    return result


# ---- small pieces ----------------------------------------------------------------------------------------------------


def _unit(answer: Row) -> str:
    return answer["user_id"] or answer["item_id"]


def _correct(answers: Iterable[Row]) -> list[tuple[str, float]]:
    return [(_unit(a), float(a["is_correct"])) for a in answers]


def _subset(item: Row) -> str:
    return item["task"] if item["distractor_set"] == "fixed" else item["source"]


def _metrics(answers: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(a["metric"] for a in answers))


def _columns(e: Estimate) -> Row:
    return {"value": e.value, "low": e.low, "high": e.high, "n": e.n}


def _put(target: dict[str, Estimate], key: str, value: Estimate | None) -> None:
    if value is not None:
        target[key] = value


def _without_control(answer: Row) -> str:
    return answer["item_id"].rpartition(":")[0]


def _difference(base: Iterable[Row], other: Iterable[Row], question: Callable[[Row], str]) -> Estimate | None:
    before = {question(a): a for a in base}
    pairs = [(a, before[question(a)]) for a in other if question(a) in before]
    return estimate((_unit(a), float(a["is_correct"]) - float(b["is_correct"])) for a, b in pairs)


def _popular(item: Row) -> float:
    options = orjson.loads(item["options"])
    most = max(o["popularity"] for o in options)
    best = [o["label"] for o in options if o["popularity"] == most]
    return 1 / len(best) if item["correct"] in best else 0.0


def _origin(item: Row, label: str) -> str:
    return next(o["origin"] for o in orjson.loads(item["options"]) if o["label"] == label)
