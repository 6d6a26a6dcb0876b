"""ToMBench (V3): questions about stories in English or Chinese, each asked five times, decided by majority."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from humanllm_assets.asking.questions import Sink, Tally
from humanllm_assets.evaluation.benchmarks import Kind, add_nothing
from humanllm_assets.evaluation.contest import Built, Contest
from humanllm_assets.evaluation.estimates import Estimate, average, bootstrap, estimate, summary_row
from humanllm_assets.evaluation.fixed import BadBenchmark, MissingBenchmark, Shown, fixed_item, strip_label
from humanllm_assets.evaluation.report_parts import Column, Layout, Results
from humanllm_assets.evaluation.scoring import answer_choices, choice_identity, summarise_choices
from humanllm_assets.pages.page import Section
from humanllm_assets.partitions import Partitions
from humanllm_assets.tasks.split import stable_shuffle
from resources.profile import Benchmark, ProfileError, resolve_path

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]
GROUPS = ("Emotion", "Desire", "Intention", "Knowledge", "Belief", "Non-literal communication")
ASKS = 5


class _Fields(NamedTuple):
    """Keys of one language in the files; an option's key ends in its letter."""

    story: str
    question: str
    option: str


LANGUAGES = {"en": _Fields("STORY", "QUESTION", "OPTION-"), "zh": _Fields("故事", "问题", "选项")}
_FILES = 20
_ABILITY, _ANSWER = "能力\nABILITY", "答案\nANSWER"
_TITLES = {"en": "English", "zh": "Chinese"}
_WAYS = {
    "by_ability": "mean over ability strings, as for the paper's open models",
    "pooled": "pooled over questions, as for its GPT-4o row",
}


def build(step: Step, counts: Tally, sink: Sink) -> Built:
    """The questions in the language that the benchmark names."""
    b = step.profile.benchmarks[step.partition]
    return Built(tombench_items(resolve_path(str(b.folder)), str(b.subset), step.partition, b.max_items))


def tombench_items(folder: Path, language: str, benchmark: str, max_questions: int | None = None) -> list[Row]:
    """ToMBench in one language, each question asked five times with shuffled options.

    Handled defects of the files: absent options are NaN (questions with two options); labels in front of options come as "A. ",
    "A: ", "A." or not at all; one answer is "A. "; two questions have two identical options, of which one is kept. Ability
    strings stay as they are in the file, see `ability_group`.

    Args:
        folder: holds the 20 JSONL files, itself or in `data/`.
        language: en or zh.

    Raises:
        ProfileError: another language.
        MissingBenchmark: there are no such files.
        BadBenchmark: a question whose answer is none of its options.
    """
    if language not in LANGUAGES:
        raise ProfileError(
            f"benchmarks.{benchmark}: ToMBench has no `{language}`; set `subset` to one of: {', '.join(LANGUAGES)}"
        )
    files = sorted(folder.glob("*.jsonl")) or sorted(folder.glob("data/*.jsonl"))
    if len(files) != _FILES:
        raise MissingBenchmark(
            f"ToMBench is not complete in {folder}: found {len(files)} of its {_FILES} .jsonl files; get your own copy of "
            "the benchmark and set `folder` of the benchmark in the profile to it"
        )
    fields = LANGUAGES[language]
    questions = [(f"{path.stem}:{line}", row) for path in files for line, row in _lines(path)]
    if max_questions:
        questions = stable_shuffle(questions, "tombench", key=lambda q: q[0])[:max_questions]
    items = []
    for key, row in questions:
        given = {c: row.get(f"{fields.option}{c}") for c in "ABCD"}
        options = {c: strip_label(o, c) for c, o in given.items() if isinstance(o, str) and o.strip()}
        answer = row[_ANSWER].strip()[:1]
        if answer not in options:
            raise BadBenchmark(f"ToMBench {key}: the answer {answer!r} is none of the options; restore the original file")
        distinct = {text: answer if text == options[answer] else letter for letter, text in reversed(options.items())}
        story = row[fields.story].strip()
        prompt = f"{story}\n\n{row[fields.question].strip()}"
        story_id = f"tombench/{key.split(':')[0]}/{hashlib.sha256(row['STORY'].encode()).hexdigest()[:12]}"
        for ask in range(ASKS):
            order = stable_shuffle(
                ((letter, text) for text, letter in distinct.items()), "tombench", key, ask, key=lambda o: o[0]
            )
            item = fixed_item(
                f"{benchmark}:{key}#ask{ask}",
                benchmark=benchmark,
                task=row[_ABILITY],
                source=language,
                unit=story_id,
                prompt=prompt,
                shown=[Shown(*option) for option in order],
                answer=answer,
            )
            items.append(item)
    return items


def ability_group(ability: str) -> str:
    """One of the six groups of an ability string; a string that holds two abilities counts for the first."""
    head = ability.strip().partition(":")[0].strip().casefold()
    return next((g for g in GROUPS if g.casefold() == head), ability.strip())


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
    import json  # not orjson: the files hold NaN

    with path.open(encoding="utf-8") as f:
        for number, line in enumerate(f):
            if line.strip():
                yield number, json.loads(line)


def answer(contest: Contest) -> list[Row]:
    """Each ask is a question of its own."""
    return answer_choices(contest)


def summarise(items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Beside the metrics of single asks (`summarise_choices`), after majority votes: `pooled:<group>` and `by_ability:<group>` for
    the six groups and `Avg.`, and `pooled:All`.
    """
    rows = summarise_choices(items, answers)
    for benchmark, contestant in sorted({(a["benchmark"], a["contestant"]) for a in answers}):
        votes = tombench_votes(items, (a for a in answers if a["contestant"] == contestant))
        for way, groups in tombench_summary(votes).items():
            rows += [
                summary_row(e, benchmark=benchmark, contestant=contestant, metric=f"{way}:{group}") for group, e in groups.items()
            ]
    return rows


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
    values: dict[str, dict[str, list[tuple[str, float]]]] = {g: defaultdict(list) for g in GROUPS}
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
    overall = bootstrap(
        {str(k): v for k, v in flat.items()}, lambda means: sum(m * weights[names[k]] for k, m in means.items()), 0
    )
    _put(result["by_ability"], "Avg.", overall)
    _put(result["pooled"], "All", estimate((v.story, float(v.is_correct)) for v in votes))
    return result


def _put(target: dict[str, Estimate], key: str, value: Estimate | None) -> None:
    if value is not None:
        target[key] = value


def _origin(item: Row, label: str) -> str:
    return next(o["origin"] for o in orjson.loads(item["options"]) if o["label"] == label)


def tables(benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """Table 3, by both ways of averaging and by language."""
    names = {g: "NLC" if g.startswith("Non") else g for g in GROUPS}
    layouts = []
    for way, text in _WAYS.items():
        for k, b in benchmarks.items():
            title = f"Table 3: ToMBench, {_TITLES.get(b.subset or '', b.subset)}, {text.partition(',')[0]}"
            columns = [Column(name, k, f"{way}:{g}", "fixed") for g, name in names.items()]
            layouts.append(Layout(title, "3", columns, 4, f"Majority of five asks; {text}. Intervals over stories."))
    return layouts or [Layout("Table 3: ToMBench", "3", [], 4)]


def sections(benchmarks: Mapping[str, Benchmark], results: Results) -> list[Section]:
    """Nothing beside the tables."""
    return []


KIND = Kind(
    place=4,
    roles=(),
    answers_table="answers",
    pairs=Partitions.pairs_of_benchmark,
    items_identity=add_nothing,
    build=build,
    scores_identity=choice_identity,
    answer=answer,
    summarise=summarise,
    tables=tables,
    sections=sections,
)
