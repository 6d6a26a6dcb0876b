"""MotiveBench (V2): three questions about each scenario, every question in six orders of its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from humanllm_assets.asking.questions import Sink, Tally
from humanllm_assets.evaluation.benchmarks import Kind, add_nothing
from humanllm_assets.evaluation.contest import Built, Contest
from humanllm_assets.evaluation.fixed import BadBenchmark, MissingBenchmark, Shown, fixed_item, strip_label
from humanllm_assets.evaluation.report_parts import Column, Layout, Results
from humanllm_assets.evaluation.scoring import answer_choices, choice_identity, summarise_choices
from humanllm_assets.pages.page import Section
from humanllm_assets.partitions import Partitions
from humanllm_assets.tasks.split import stable_shuffle
from resources.profile import Benchmark, Role, resolve_path

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step

Row = dict[str, Any]


class Asked(NamedTuple):
    """One of the questions about a scenario: its key in the file, the number of its options and answer, a short name."""

    key: str
    number: int
    name: str


QUESTIONS = (
    Asked("Motivation Reasoning Question", 1, "motivation"),
    Asked("Behavior Reasoning Question", 2, "behavior"),
    Asked("Motivation and Behavior Reasoning Question", 3, "motivation_and_behavior"),
)
SUBSETS = {"Amazon": "Amazon", "Blog": "Blogger", "Persona": "Persona"}  # with the paper's columns
REPETITION_PENALTY = 1.05


def build(step: Step, counts: Tally, sink: Sink) -> Built:
    """The questions of the subset that the benchmark names."""
    b = step.profile.benchmarks[step.partition]
    return Built(motivebench_items(resolve_path(str(b.folder)), str(b.subset), step.partition, b.max_items))


def motivebench_items(folder: Path, subset: str, benchmark: str, max_questions: int | None = None) -> list[Row]:
    """Questions of one MotiveBench subset, each in six option orders that form a Latin square (every option once at each place).

    Args:
        folder: holds `<subset>/<subset>_questions.json`.
        subset: Amazon, Blog or Persona: 50, 50, 100 scenarios with three questions of six options.
        max_questions: fewer questions for a trial run, chosen by a stable hash.

    Raises:
        MissingBenchmark: the file is not there.
        BadBenchmark: a question without six different options and an answer among them.
    """
    path = folder / subset / f"{subset}_questions.json"
    if not path.is_file():
        raise MissingBenchmark(
            f"MotiveBench is not in {folder}: {subset}/{path.name} is missing; get your own copy of the benchmark and set "
            f"`folder` of the benchmark in the profile to it (subsets: {', '.join(SUBSETS)})"
        )
    questions: list[_Question] = []
    for scenario in orjson.loads(path.read_bytes()):
        for asked in QUESTIONS:
            where = f"{path.name}, scenario {scenario['idx']}, {asked.name}"
            given = scenario[f"Options {asked.number}"]
            options = {o.strip()[0]: strip_label(o, o.strip()[0]) for o in given}
            answer = scenario[f"Correct Answer {asked.number}"].strip()[:1]
            if len(set(options.values())) != 6 or answer not in options:
                raise BadBenchmark(f"{where}: expected six different options and an answer among them; restore the original file")
            questions.append(_Question(scenario["idx"], asked.name, scenario[asked.key], options, answer))
    if max_questions:
        questions = stable_shuffle(questions, "motivebench", subset, key=lambda q: q.key)[:max_questions]
    items = []
    for q in questions:
        letters = list(q.options)
        for order in range(len(letters)):
            item = fixed_item(
                f"{benchmark}:{q.key}#order{order}",
                benchmark=benchmark,
                task=q.name,
                source=subset,
                unit=f"motivebench/{subset}/{q.scenario}",
                prompt=q.prompt,
                shown=[Shown(letter, q.options[letter]) for letter in letters[order:] + letters[:order]],
                answer=q.answer,
            )
            items.append(item)
    return items


class _Question(NamedTuple):
    """One question of one scenario; options by their letter in the file."""

    scenario: int
    name: str
    prompt: str
    options: dict[str, str]
    answer: str

    @property
    def key(self) -> str:
        return f"{self.scenario}:{self.name}"


def answer(contest: Contest) -> list[Row]:
    """By MotiveBench's own rules: its sampling, and the first character of the reply is the answer."""
    return answer_choices(replace(contest, role=penalize_repetition(contest.role)), first_character=True)


def penalize_repetition(role: Role) -> Role:
    """The role with MotiveBench's repetition penalty."""
    return role.model_copy(update={"repetition_penalty": REPETITION_PENALTY})


def summarise(items: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Accuracy over all questions and orders, see `summarise_choices`."""
    return summarise_choices(items, answers)


def tables(benchmarks: Mapping[str, Benchmark]) -> list[Layout]:
    """Table 2."""
    columns = [Column(SUBSETS.get(str(b.subset), b.subset or k), k, "accuracy", "fixed") for k, b in benchmarks.items()]
    text = "Share of correct answers over all questions in six option orders."
    return [Layout("Table 2: MotiveBench", "2", columns, 4, text)]


def sections(benchmarks: Mapping[str, Benchmark], results: Results) -> list[Section]:
    """Nothing beside the table."""
    return []


KIND = Kind(
    place=3,
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
