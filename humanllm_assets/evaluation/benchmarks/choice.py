"""Choice questions about the open tasks (V1): which of several answers is the true one.

Profile generation, scenario generation, social QA and writing imitation are asked against two sets of distractors: `llm`, written
by other models as in the paper, and `human`, other users' true answers of the same kind. The paper has the first set alone, which
measures the style of a text as much as the person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from humanllm_assets.asking.questions import Failed, Question, Sink, Tally, Verbatim, replies
from humanllm_assets.evaluation.benchmarks import Kind
from humanllm_assets.evaluation.contest import Built, Contest
from humanllm_assets.evaluation.controls import MIN_DISTRACTORS
from humanllm_assets.evaluation.items import (
    PERSON_FIELDS,
    choose_samples,
    find_donors,
    in_domain_item,
    place_true,
    read_test_samples,
    records_behind,
    with_person_of,
    without_person,
)
from humanllm_assets.evaluation.paper import paper_numbers
from humanllm_assets.evaluation.report_parts import TABLE_1, Column, Layout, Results
from humanllm_assets.evaluation.scoring import answer_choices, choice_identity, summarise_choices
from humanllm_assets.pages.page import Section
from humanllm_assets.partitions import Partitions
from humanllm_assets.tasks.rendering import render_fields
from humanllm_assets.tasks.split import stable_shuffle
from resources.profile import TASKS, Benchmark, Distractor, Profile, ProfileError, Role
from resources.prompting.prompts import Prompt

if TYPE_CHECKING:
    import duckdb

    from humanllm_assets.lineage.nodes import Step
    from resources.llm.asker import Asker

Row = dict[str, Any]
PROMPT = "benchmarks/true_answer"
HUMAN_DISTRACTORS = 7


def list_pairs(parts: Partitions, benchmark: str) -> tuple[str, ...]:
    """The pairs of the benchmark's task.

    Raises:
        ProfileError: the task has no answers to choose among.
    """
    task = parts.profile.benchmarks[benchmark].task
    if task is None or not TASKS[task].choices:
        known = ", ".join(name for name, facts in TASKS.items() if facts.choices)
        wrong = f", and `{task}` has none" if task else ""
        raise ProfileError(f"benchmarks.{benchmark}: a choice needs a task with choices{wrong}; set `task` to one of: {known}")
    return parts.pairs_of_benchmark(benchmark)


def distractor_identity(profile: Profile, benchmark: Benchmark) -> dict[str, Any]:
    """The template, and who writes distractors how."""
    identity: dict[str, Any] = {"template": Prompt.load(PROMPT).identity, "subtasks": TASKS[str(benchmark.task)].choices}
    if benchmark.distractors:
        identity["distractors"] = [
            {**d.model_dump(exclude={"model"}), "model": profile.models[d.model].identity, "name": d.model}
            for d in benchmark.distractors
        ]
        identity["sampling"] = profile.roles["contestant"].sampling()
    return identity


def build(step: Step, counts: Tally, sink: Sink) -> Built:
    """Questions of the benchmark's task; asks the writers of distractors."""
    samples, name = read_test_samples(step), step.partition
    benchmark, role = step.profile.benchmarks[name], step.profile.roles["contestant"]
    task = str(benchmark.task)
    known = near_duplicates(step.con, "samples")
    chosen = choose_samples(samples, task, TASKS[task].choices, name, benchmark.max_items)
    asked = [s for s in chosen if s["sample_id"] not in known]
    written = (
        write_distractors(step.engine, asked, benchmark.distractors, role, step.log, counts, sink)
        if benchmark.distractors
        else {}
    )
    return choice_items(samples, name, task, written, benchmark.max_items, known)


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


def distractor_questions(samples: Iterable[Row], writer: str) -> Iterator[Question]:
    """What the writers of distractors are asked: the task itself, as it stands in the sample."""
    for s in samples:
        yield Question(s["sample_id"], s["user_id"], Verbatim(writer), {"text": orjson.loads(s["conversations"])[0]["value"]}, s)


class _Written(NamedTuple):
    """What one writer wrote, by sample_id; its requests, and its rows of `failures`."""

    texts: dict[str, str]
    counts: Tally
    failures: list[Row]


def write_distractors(
    engine: Asker,
    samples: Sequence[Row],
    writers: Sequence[Distractor],
    role: Role,
    log: Callable[[str], None],
    counts: Tally,
    sink: Sink,
) -> dict[str, dict[str, str]]:
    """Ask every writer for its answer to every sample.

    Args:
        samples: what `choose_samples` chose.
        writers: models with seed and temperature.
        role: its other sampling parameters are used for every writer.
        counts, sink: get the requests and the failures, whose prompt is the origin.

    Returns:
        texts by sample_id and origin (`llm:<model>:<seed>`). A text that was cut off is used: every option is cut to the length of
        the true answer anyway.
    """

    def origin(w: Distractor) -> str:
        return f"llm:{w.model}:{w.seed}"

    def write(w: Distractor) -> _Written:
        done = _Written({}, Tally(), [])  # of its own: the writers of one model run at once
        asked = role.model_copy(update={"model": w.model, "seed": w.seed, "temperature": w.temperature})
        with Sink(lambda table, rows: done.failures.extend(rows)) as own:
            for question, text in replies(
                engine,
                asked,
                distractor_questions(samples, origin(w)),
                done.counts,
                own,
                label=f"distractors by {origin(w)}",
                log=log,
                total=len(samples),
            ):
                if not isinstance(text, Failed):
                    done.texts[question.key] = text
        return done

    texts: dict[str, dict[str, str]] = {s["sample_id"]: {} for s in samples}
    # Few questions each: the writers of one model share its server at once. Another model may need another server, so its turn
    # comes afterwards.
    for _, same_model in groupby(sorted(writers, key=lambda w: w.model), key=lambda w: w.model):
        group = list(same_model)
        with ThreadPoolExecutor() as pool:
            for w, done in zip(group, pool.map(write, group), strict=True):
                counts.add_requests(done.counts)
                for row in done.failures:
                    sink.add("failures", row)
                for sample_id, text in done.texts.items():
                    texts[sample_id][origin(w)] = text
    return texts


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
    everyone = choose_samples(samples, task, TASKS[task].choices, benchmark, None)
    known = set(known)
    base = everyone[:max_items]
    donors, built = find_donors(everyone), Built()
    pools: dict[tuple[str, str], list[_Measured]] = {}
    for s in everyone:
        pools.setdefault((s["source"], s["subtask"]), []).append(_Measured(len(plain_text(s["answer"]).split()), s))
    wanted = min(MIN_DISTRACTORS, max((len(v) for v in written.values()), default=0))
    places: Counter[str] = Counter()
    for s in base:
        if s["sample_id"] in known:
            built.dropped["near_duplicate"] += 1
            continue
        gold = plain_text(s["answer"])
        humans = _choose_human_answers(s, gold, pools[s["source"], s["subtask"]])
        sets = {"human": [_Candidate(f"human:{h['sample_id']}", h["answer"], h["record_ids"]) for h in humans]}
        if wanted:
            sets["llm"] = [_Candidate(origin, text, []) for origin, text in sorted(written.get(s["sample_id"], {}).items())]
        for name, candidates in sets.items():
            options, records = _fit_options(gold, candidates)
            if len(options) < (wanted if name == "llm" else MIN_DISTRACTORS):
                built.dropped[f"{name}:too_few_distractors"] += 1
                continue
            placed = place_true({"text": _strip_end(gold), "origin": "gold", "ratio": 1.0}, options, places[name], s["sample_id"])
            places[name] += 1
            donor = donors.get(s["sample_id"])
            prompts = _choice_prompts(s, donor)
            if "no_persona" in prompts and "other_persona" not in prompts:
                built.dropped[f"{name}:no_other_persona"] += 1
            for control, prompt in prompts.items():
                behind = sorted({*records_behind(control, s, donor), *records})
                built.items.append(in_domain_item(s, benchmark, name, control, prompt, placed, behind))
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


def _strip_end(text: str) -> str:
    """Without the final punctuation, which a cut text lacks."""
    return text.rstrip(" .!?…,;:-")


class _Candidate(NamedTuple):
    """A text that may stand beside the true one, and the records behind it."""

    origin: str
    text: str
    record_ids: list[str]


class _Fitted(NamedTuple):
    """Options without the true one, and the records behind them."""

    options: list[Row]
    records: set[str]


def _fit_options(gold: str, candidates: Iterable[_Candidate]) -> _Fitted:
    """The candidates cut to the length of the true text; those that are blank or look alike are left out."""
    words, seen, options, records = len(gold.split()), {_strip_end(gold).casefold()}, [], set()
    for origin, text, record_ids in candidates:
        shown = _strip_end(fit_length(plain_text(text), words))
        if shown and shown.casefold() not in seen:
            seen.add(shown.casefold())
            options.append({"text": shown, "origin": origin, "ratio": round(len(shown.split()) / words, 3)})
            records.update(record_ids)
    return _Fitted(options, records)


class _Measured(NamedTuple):
    """A sample and the words of its answer."""

    words: int
    sample: Row


def _choose_human_answers(sample: Row, gold: str, pool: Sequence[_Measured]) -> list[Row]:
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
        requests["no_persona"] = render_fields(without_person(fields))
        if donor:
            requests["other_persona"] = render_fields(with_person_of(fields, donor))
    ask = Prompt.load(PROMPT)
    return {control: ask.render(request=request)[-1][1] for control, request in requests.items()}


def answer(contest: Contest) -> list[Row]:
    """The letter of one text; distractors of the contestant's own base model are not shown to it."""
    return answer_choices(contest)


def summarise(items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """See `summarise_choices`, by set of distractors."""
    return summarise_choices(items, answers)


def tables(benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """Columns of Table 1, and the same against distractors by people."""

    def columns(name: str) -> list[Column]:
        asked = [(TASKS[task].title, k) for task in TASKS for k, b in benchmarks.items() if b.task == task]
        return [Column(title, k, "accuracy", name, 100) for title, k in asked]

    text = "Accuracy in percent against other users' true texts of about the same length; the paper has no such set."
    human = Layout("Table 1, distractors written by people", "", columns("human"), 2, text)
    of_the_paper = paper_numbers()["tables"]["1"]["columns"]
    beyond = [c for c in columns("llm") if c.title not in of_the_paper]
    more = [Layout("In-domain tasks that the paper does not have", "", beyond, 2, TABLE_1.text)] if beyond else []
    return [TABLE_1._replace(columns=[c for c in columns("llm") if c.title in of_the_paper]), *more, human]


def sections(benchmarks: Mapping[str, Benchmark], results: Results) -> list[Section]:
    """Nothing beside the tables."""
    return []


KIND = Kind(
    place=2,
    roles=(),
    answers_table="answers",
    pairs=list_pairs,
    items_identity=distractor_identity,
    build=build,
    scores_identity=choice_identity,
    answer=answer,
    summarise=summarise,
    tables=tables,
    sections=sections,
)
