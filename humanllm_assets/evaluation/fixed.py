"""Public benchmarks with given options: MotiveBench (V2) and ToMBench (V3), read from the user's own copy.

Neither is shipped: MotiveBench has no licence file, and both are for evaluation only. Repeated asks of one question are items
whose ids share the part before `#`; options carry their original letter as `origin`, so that repeats can be compared.
`user_id` holds the scenario or story, the unit over which confidence intervals resample; `task` the ability as printed in the
file; `source` the subset or language.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from humanllm_assets.tasks.rendering import LABELS
from humanllm_assets.tasks.split import stable_shuffle
from resources.errors import Explained

Row = dict[str, Any]
MOTIVE_QUESTIONS = (  # key of the question, number of its options and answer, short name
    ("Motivation Reasoning Question", 1, "motivation"),
    ("Behavior Reasoning Question", 2, "behavior"),
    ("Motivation and Behavior Reasoning Question", 3, "motivation_and_behavior"),
)
MOTIVE_SUBSETS = ("Amazon", "Blog", "Persona")
TOM_GROUPS = ("Emotion", "Desire", "Intention", "Knowledge", "Belief", "Non-literal communication")
TOM_ASKS = 5
_TOM_FILES = 20
_TOM_FIELDS = {"en": ("STORY", "QUESTION", "OPTION-"), "zh": ("故事", "问题", "选项")}
_TOM_ABILITY, _TOM_ANSWER = "能力\nABILITY", "答案\nANSWER"


class MissingBenchmark(Explained):
    """The benchmark's files are not where the profile says."""


class BadBenchmark(ValueError):
    """A question that does not have the documented form."""


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
            f"`folder` of the benchmark in the profile to it (subsets: {', '.join(MOTIVE_SUBSETS)})"
        )
    questions = []
    for scenario in orjson.loads(path.read_bytes()):
        for key, number, kind in MOTIVE_QUESTIONS:
            where = f"{path.name}, scenario {scenario['idx']}, {kind}"
            options = {o.strip()[0]: _strip_label(o, o.strip()[0]) for o in scenario[f"Options {number}"]}
            answer = scenario[f"Correct Answer {number}"].strip()[:1]
            if len(set(options.values())) != 6 or answer not in options:
                raise BadBenchmark(f"{where}: expected six different options and an answer among them; restore the original file")
            questions.append(
                (f"{scenario['idx']}:{kind}", f"motivebench/{subset}/{scenario['idx']}", kind, scenario[key], options, answer)
            )
    chosen = stable_shuffle(questions, "motivebench", subset, key=lambda q: q[0])[:max_questions] if max_questions else questions
    items = []
    for key, scenario_id, kind, prompt, options, answer in chosen:
        letters = list(options)
        for order in range(len(letters)):
            shown = letters[order:] + letters[:order]
            item_id = f"{benchmark}:{key}#order{order}"
            items.append(_item(item_id, benchmark, kind, subset, scenario_id, prompt, [(x, options[x]) for x in shown], answer))
    return items


def tombench_items(folder: Path, language: str, benchmark: str, max_questions: int | None = None) -> list[Row]:
    """ToMBench in one language, each question asked five times with shuffled options.

    Handled defects of the files: absent options are NaN (questions with two options); labels in front of options come as "A. ",
    "A: ", "A." or not at all; one answer is "A. "; two questions have two identical options, of which one is kept. Ability
    strings stay as they are in the file, see `ability_group`.

    Args:
        folder: holds the 20 JSONL files, itself or in `data/`.
        language: en or zh.

    Raises:
        MissingBenchmark: there are no such files.
        BadBenchmark: a question whose answer is none of its options.
    """
    files = sorted(folder.glob("*.jsonl")) or sorted(folder.glob("data/*.jsonl"))
    if len(files) != _TOM_FILES:
        raise MissingBenchmark(
            f"ToMBench is not complete in {folder}: found {len(files)} of its {_TOM_FILES} .jsonl files; get your own copy of "
            "the benchmark and set `folder` of the benchmark in the profile to it"
        )
    story_key, question_key, option_key = _TOM_FIELDS[language]
    questions = [(f"{path.stem}:{line}", row) for path in files for line, row in _lines(path)]
    if max_questions:
        questions = stable_shuffle(questions, "tombench", key=lambda q: q[0])[:max_questions]
    items = []
    for key, row in questions:
        given = {c: row.get(f"{option_key}{c}") for c in "ABCD"}
        options = {c: _strip_label(o, c) for c, o in given.items() if isinstance(o, str) and o.strip()}
        answer = row[_TOM_ANSWER].strip()[:1]
        if answer not in options:
            raise BadBenchmark(f"ToMBench {key}: the answer {answer!r} is none of the options; restore the original file")
        distinct = {text: answer if text == options[answer] else letter for letter, text in reversed(options.items())}
        story = row[story_key].strip()
        prompt = f"{story}\n\n{row[question_key].strip()}"
        story_id = f"tombench/{key.split(':')[0]}/{hashlib.sha256(row['STORY'].encode()).hexdigest()[:12]}"
        for ask in range(TOM_ASKS):
            item_id = f"{benchmark}:{key}#ask{ask}"
            shown = stable_shuffle(
                ((letter, text) for text, letter in distinct.items()), "tombench", key, ask, key=lambda o: o[0]
            )
            items.append(_item(item_id, benchmark, row[_TOM_ABILITY], language, story_id, prompt, shown, answer))
    return items


def ability_group(ability: str) -> str:
    """One of the six groups of an ability string; a string that holds two abilities counts for the first."""
    head = ability.strip().partition(":")[0].strip().casefold()
    return next((g for g in TOM_GROUPS if g.casefold() == head), ability.strip())


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
    import json  # not orjson: the files hold NaN

    with path.open(encoding="utf-8") as f:
        for number, line in enumerate(f):
            if line.strip():
                yield number, json.loads(line)


def _strip_label(option: str, letter: str) -> str:
    return re.sub(rf"^\s*{letter}\s*[.:：．)]\s*", "", option).strip()


def _item(
    item_id: str, benchmark: str, task: str, source: str, unit: str, prompt: str, shown: list[tuple[str, str]], answer: str
) -> Row:
    options = [{"label": label, "text": text, "origin": letter} for label, (letter, text) in zip(LABELS, shown, strict=False)]
    return {
        "item_id": item_id,
        "benchmark": benchmark,
        "task": task,
        "source": source,
        "user_id": unit,
        "distractor_set": "fixed",
        "control": "none",
        "prompt": prompt,
        "options": orjson.dumps(options).decode(),
        "correct": next(o["label"] for o in options if o["origin"] == answer),
        "sample_id": None,
        "record_ids": [],
    }
