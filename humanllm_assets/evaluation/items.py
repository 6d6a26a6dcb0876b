"""In-domain benchmark questions (V1), made from the test split of the task data sets.

Item selection asks for the bought item among 20. The open tasks (profile generation, scenario generation, social QA, writing
imitation) ask which of several answers is the true one, against two sets of distractors: `llm`, written by other models as in
the paper, and `human`, other users' true answers of the same kind. The paper has the first set alone, which measures the style
of a text as much as the person.

Every question comes with its controls, in the same order of options: `options_only` (no task, no person), `no_persona` (the task
without the person) and `other_persona` (the task with somebody else in it). A score means something by its distance from them.

What belongs here: choosing, cleaning and ordering of options. What does not: public benchmarks (`fixed.py`), applications
(`applications.py`), asking and scoring (`scoring.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson

from humanllm_assets.tasks.rendering import LABELS, render_fields, template
from humanllm_assets.tasks.split import stable_shuffle
from resources.llm.requests import LLMRequest
from resources.profile import TASKS, Distractor, Role

if TYPE_CHECKING:
    import duckdb

    from resources.llm.asker import Asker

Row = dict[str, Any]
CHOICE_SUBTASKS = {name: task.choices for name, task in TASKS.items() if task.choices}
PERSON_FIELDS = ("persona", "history", "style")
HUMAN_DISTRACTORS = 7
MIN_DISTRACTORS = 3  # a question keeps at least this many, or all when fewer are configured
CONTROLS = ("none", "options_only", "no_persona", "other_persona")


@dataclass
class Built:
    """Questions, and what was left out, counted as `<set>:<reason>`.

    Reasons: near_duplicate (both sets) and too_few_distractors leave a question out; no_other_persona only its control.
    """

    items: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    failures: list[Row] = field(default_factory=list)  # columns of FAILURES: distractors that could not be written


def choose_samples(
    samples: Iterable[Row], task: str, subtasks: Sequence[str] | None, name: str, max_items: int | None
) -> list[Row]:
    """The samples that a benchmark asks about: test split only, at most `max_items`, chosen by a stable hash of their ids.

    Args:
        samples: rows of `samples`; rows of other tasks, subtasks and of the training split are passed over.
        name: benchmark, part of the hash.
    """
    mine = [s for s in samples if s["split"] == "test" and s["task"] == task and (subtasks is None or s["subtask"] in subtasks)]
    return stable_shuffle(mine, "items", name, key=lambda s: s["sample_id"])[:max_items]


def near_duplicates(con: duckdb.DuckDBPyConnection, samples: str, share: float = 0.5, shingle: int = 8) -> dict[str, str]:
    """Test samples whose answer is nearly in the training data, each with one training sample that shows it.

    Args:
        samples: table or view with sample_id, split, answer, all pairs that a model may be trained on.
        share: a test answer counts as known when at least this share of its word n-grams stands in one training answer.
        shingle: n of the n-grams. Shorter answers are not compared: they coincide by chance.
    """
    words = r"string_split_regex(trim(lower(regexp_replace(answer, '[^\pL\pN]+', ' ', 'g'))), '\s+')"
    rows = con.execute(f"""
        with grams as (
            select sample_id, split, unnest(list_distinct(list_transform(range(1, len(w) - {shingle} + 2),
                lambda i: hash(array_to_string(w[i:i + {shingle} - 1], ' '))))) as gram
            from (select sample_id, split, {words} as w from {samples}) where len(w) >= {shingle}),
        test as (select *, count(*) over (partition by sample_id) as grams from grams where split = 'test'),
        pair as (
            select t.sample_id, g.sample_id as other, count(*) as common, any_value(t.grams) as grams
            from test t join grams g on g.gram = t.gram and g.split = 'train' group by t.sample_id, g.sample_id)
        select sample_id, min(other) from pair where common >= {share} * grams group by sample_id order by 1""").fetchall()
    return dict(rows)


# ---- item selection --------------------------------------------------------------------------------------------------


def item_selection_items(samples: Iterable[Row], benchmark: str, max_items: int | None = None) -> Built:
    """20-way questions: the candidates of the test samples, answered by candidate id (chance 1/20).

    The place of the bought item rotates over the questions, so that no position is favoured. Controls: options_only,
    other_persona (somebody else's purchases and persona); here `no_persona` would be the same as options_only.
    """
    built = Built()
    everyone = choose_samples(samples, "item_selection", None, benchmark, None)
    base, donors = everyone[:max_items], _donors(everyone)
    for index, s in enumerate(base):
        fields = {**orjson.loads(s["fields"]), "options": []}
        gold = next(o for o in orjson.loads(s["options"]) if o["id"] == s["answer"])
        rest = [o for o in orjson.loads(s["options"]) if o is not gold and o["id"] != s["answer"]]
        options, correct = _place(
            {"text": gold["text"], "origin": gold["item_id"], "popularity": gold["popularity"]},
            [{"text": o["text"], "origin": o["item_id"], "popularity": o["popularity"]} for o in rest],
            index,
        )
        prompts = {"none": render_fields(fields), "options_only": render_fields(_without_person(fields))}
        donor = donors.get(s["sample_id"])
        if donor is None:
            built.dropped["catalogue:no_other_persona"] += 1
        else:
            prompts["other_persona"] = render_fields(_with_person_of(fields, donor))
        for control, prompt in prompts.items():
            records = _records_behind(control, s, donor)
            built.items.append(_item(s, benchmark, "catalogue", control, prompt, options, correct, records))
    return built


# ---- choice between the true answer and distractors ------------------------------------------------------------------


def distractor_requests(samples: Iterable[Row]) -> Iterator[LLMRequest]:
    """What the writers of distractors are asked: the task itself, as it stands in the sample."""

    for s in samples:
        question = orjson.loads(s["conversations"])[0]["value"]
        yield LLMRequest(key=s["sample_id"], messages=(("user", question),), schema=None, subject=s["user_id"])


def write_distractors(
    engine: Asker, samples: Sequence[Row], writers: Sequence[Distractor], role: Role, log: Callable[[str], None]
) -> tuple[dict[str, dict[str, str]], list[Row]]:
    """Ask every writer for its answer to every sample.

    Args:
        samples: what `choose_samples` chose.
        writers: models with seed and temperature.
        role: its other sampling parameters are used for every writer.

    Returns:
        texts by sample_id and origin (`llm:<model>:<seed>`), and the failures. A reply that was cut off is used: every option is
        cut to the length of the true answer anyway.
    """
    texts: dict[str, dict[str, str]] = {s["sample_id"]: {} for s in samples}
    failures: list[Row] = []

    def write(w: Distractor) -> None:
        origin = f"llm:{w.model}:{w.seed}"
        asked = role.model_copy(update={"model": w.model, "seed": w.seed, "temperature": w.temperature})
        replies = engine.ask(asked, distractor_requests(samples), label=f"distractors by {origin}", log=log, total=len(samples))
        for reply in replies:
            text = reply.value if isinstance(reply.value, str) else reply.raw if reply.reason == "cut_off" else None
            if text and text.strip():
                texts[reply.key][origin] = text
            else:
                failures.append({"item_id": reply.key, "prompt": origin, "reason": reply.reason or "empty", "raw": reply.raw})

    # Few questions each: the writers of one model share its server at once. Another model may need another server, so its turn
    # comes afterwards.
    for _, same_model in groupby(sorted(writers, key=lambda w: w.model), key=lambda w: w.model):
        with ThreadPoolExecutor() as pool:
            list(pool.map(write, same_model))
    return texts, failures


def choice_items(
    samples: Iterable[Row],
    benchmark: str,
    task: str,
    written: Mapping[str, Mapping[str, str]],
    max_items: int | None = None,
    known: Iterable[str] = (),
) -> Built:
    """Choice questions of one open task, both sets of distractors, with controls.

    Args:
        samples: rows of `samples`, every test sample of the task (also those beyond `max_items`: their answers are the human
            distractors).
        written: LLM distractors by sample_id and origin, from `write_distractors`; empty = no `llm` set.
        known: sample_ids that `near_duplicates` found; dropped as `near_duplicate`.

    Returns:
        items: options carry label, text, origin (gold, `llm:<model>:<seed>`, `human:<sample_id>`) and ratio (words of the option
            by words of the true answer). record_ids also hold those behind human distractors.
    """
    everyone = choose_samples(samples, task, CHOICE_SUBTASKS[task], benchmark, None)
    known = set(known)
    base = everyone[:max_items]
    donors, built = _donors(everyone), Built()
    pools: dict[tuple[str, str], list[tuple[int, Row]]] = {}  # with the length in words
    for s in everyone:
        pools.setdefault((s["source"], s["subtask"]), []).append((len(plain_text(s["answer"]).split()), s))
    wanted = min(MIN_DISTRACTORS, max((len(v) for v in written.values()), default=0))
    places: Counter[str] = Counter()
    for s in base:
        if s["sample_id"] in known:
            built.dropped["near_duplicate"] += 1
            continue
        gold = plain_text(s["answer"])
        sets: dict[str, list[tuple[str, str, list[str]]]] = {
            "human": [
                (f"human:{h['sample_id']}", h["answer"], h["record_ids"])
                for h in _humans(s, gold, pools[s["source"], s["subtask"]])
            ]
        }
        if wanted:
            sets["llm"] = [(origin, text, []) for origin, text in sorted(written.get(s["sample_id"], {}).items())]
        for name, raw in sets.items():
            options, records = _fit(gold, raw)
            if len(options) < (wanted if name == "llm" else MIN_DISTRACTORS):
                built.dropped[f"{name}:too_few_distractors"] += 1
                continue
            placed, correct = _place({"text": _bare(gold), "origin": "gold", "ratio": 1.0}, options, places[name], s["sample_id"])
            places[name] += 1
            donor = donors.get(s["sample_id"])
            prompts = _choice_prompts(s, donor)
            if "no_persona" in prompts and "other_persona" not in prompts:
                built.dropped[f"{name}:no_other_persona"] += 1
            for control, prompt in prompts.items():
                behind = sorted({*_records_behind(control, s, donor), *records})
                built.items.append(_item(s, benchmark, name, control, prompt, placed, correct, behind))
    return built


_FENCE = re.compile(r"```\w*|`+")
_OPENER = re.compile(r"\A\s*(?:sure|certainly|of course|okay|here(?:'s| is| are))\b[^\n]{0,160}[:.!]\s*\n+", re.I)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}|[-*+•]|>+|\d{1,2}[.)])[ \t]+", re.M)
_EMPHASIS = re.compile(r"\*{1,3}|_{2,3}|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)")
_SENTENCE_END = re.compile(r"[.!?…][\"')\]]*(?=\s|\Z)")


def plain_text(text: str) -> str:
    """The text on one line without format marks: headings, bullets, emphasis, code fences, outer quotes, an assistant's opener.

    All options of a question pass through here alike, so that form does not give the true one away.
    """
    text = _OPENER.sub("", text)
    for mark in (_FENCE, _LINE_MARK, _EMPHASIS):
        text = mark.sub("", text)
    text = " ".join(text.split())
    if len(text) > 1 and text[0] + text[-1] in ('""', "''", "“”"):
        text = text[1:-1].strip()
    return text


def fit_length(text: str, words: int) -> str:
    """Cut a text to the wanted number of words: at the sentence end nearest to it within 10%, else between two words."""
    found = list(re.finditer(r"\S+", text))
    if len(found) <= 1.1 * words:
        return text
    ends = [m.end() for m in _SENTENCE_END.finditer(text)]
    lengths = {len(text[:e].split()): e for e in ends}
    near = [n for n in lengths if 0.9 * words <= n <= 1.1 * words]
    return text[: lengths[min(near, key=lambda n: abs(n - words))]] if near else text[: found[words - 1].end()]


def _bare(text: str) -> str:
    """Without the final punctuation, which a cut text lacks."""
    return text.rstrip(" .!?…,;:-")


def _fit(gold: str, raw: Iterable[tuple[str, str, list[str]]]) -> tuple[list[Row], set[str]]:
    words, seen, options, records = len(gold.split()), {_bare(gold).casefold()}, [], set()
    for origin, text, record_ids in raw:
        shown = _bare(fit_length(plain_text(text), words))
        if shown and shown.casefold() not in seen:
            seen.add(shown.casefold())
            options.append({"text": shown, "origin": origin, "ratio": round(len(shown.split()) / words, 3)})
            records.update(record_ids)
    return options, records


def _humans(sample: Row, gold: str, pool: Sequence[tuple[int, Row]]) -> list[Row]:
    """Other users' answers of the same kind, one per user: within 10% of the length at random, then the nearest in length."""
    words = len(gold.split())
    others = [(abs(n - words) / words, s) for n, s in pool if s["user_id"] != sample["user_id"]]
    alike = stable_shuffle((s for d, s in others if d <= 0.1), "human", sample["sample_id"], key=lambda s: s["sample_id"])
    farther = sorted(((d, s) for d, s in others if d > 0.1), key=lambda x: (x[0], x[1]["sample_id"]))
    chosen: dict[str, Row] = {}
    for s in (*alike, *(s for _, s in farther)):
        chosen.setdefault(s["user_id"], s)
        if len(chosen) == HUMAN_DISTRACTORS:
            break
    return list(chosen.values())


def _choice_prompts(sample: Row, donor: Row | None) -> dict[str, str]:
    fields = orjson.loads(sample["fields"])
    requests: dict[str, str | None] = {"none": render_fields(fields), "options_only": None}
    if any(fields.get(f) for f in PERSON_FIELDS):
        requests["no_persona"] = render_fields(_without_person(fields))
        if donor:
            requests["other_persona"] = render_fields(_with_person_of(fields, donor))
    ask = template("benchmarks/true_answer")
    return {control: ask.render(request=request)[-1][1] for control, request in requests.items()}


def _shape(fields: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f for f in PERSON_FIELDS if fields.get(f))


def _donors(samples: Sequence[Row]) -> dict[str, Row]:
    """For each sample the next one, in the given order, of another user of whom the same is shown."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for s in samples:
        if shape := _shape(orjson.loads(s["fields"])):
            groups.setdefault((s["source"], shape), []).append(s)
    donors = {}
    for group in groups.values():
        for i, s in enumerate(group):
            donor = next((d for d in (*group[i + 1 :], *group[:i]) if d["user_id"] != s["user_id"]), None)
            if donor:
                donors[s["sample_id"]] = donor
    return donors


def _records_behind(control: str, sample: Row, donor: Row | None) -> list[str]:
    """The records that a question shows something of: with another persona, the donor's too."""
    return sorted({*sample["record_ids"], *donor["record_ids"]}) if donor and control == "other_persona" else sample["record_ids"]


def _without_person(fields: Mapping[str, Any]) -> Row:
    return {**fields, **{f: [] if f == "history" else None for f in PERSON_FIELDS if f in fields}}


def _with_person_of(fields: Mapping[str, Any], donor: Row) -> Row:
    person = orjson.loads(donor["fields"])
    return {**fields, **{f: person[f] for f in PERSON_FIELDS if f in fields}}


def _place(gold: Row, rest: Sequence[Row], index: int, *seed: str) -> tuple[list[Row], str]:
    """Options in seeded order, the true one at place `index` modulo their number, with labels; and the true label."""
    order = stable_shuffle(rest, "order", gold["origin"], *seed, key=lambda o: o["origin"])
    place = index % (len(order) + 1)
    order.insert(place, gold)
    return [{"label": label, **o} for label, o in zip(LABELS, order, strict=False)], LABELS[place]


def _item(
    s: Row, benchmark: str, name: str, control: str, prompt: str, options: list[Row], correct: str, records: list[str]
) -> Row:
    return {
        "item_id": f"{benchmark}:{s['sample_id']}:{name}:{control}",
        "benchmark": benchmark,
        "task": s["task"],
        "source": s["source"],
        "user_id": s["user_id"],
        "distractor_set": name,
        "control": control,
        "prompt": prompt,
        "options": orjson.dumps(options).decode(),
        "correct": correct,
        "sample_id": s["sample_id"],
        "record_ids": records,
    }
