"""Laws of the declaration of tasks, with a task that the product does not have: guessing the day of a record (T8)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.evaluation.benchmark_report import BenchmarkInputs, benchmark_report
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage import code_version
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.partitions import pairs
from humanllm_assets.tasks.assets import check_tasks, task_lists
from humanllm_assets.tasks.samples import build_samples, plan_samples
from humanllm_assets.tasks.targets import target_columns
from humanllm_assets.tasks.task import Given, IncompleteTask, Plan, Rendered, Row, Task, load_task
from humanllm_assets_tests.evaluation.test_reports import CONTEXT, summary
from humanllm_assets_tests.tasks.world import connect, rows
from resources.home import Home
from resources.profile import TASKS, Benchmark, TaskFacts, load_profile
from resources.prompting.prompts import PROMPTS, Prompt
from resources.thresholds import Tasks, Thresholds

LIMITS = Tasks(test_fraction=0.5)
MODULE = "humanllm_assets.tasks.day_guessing"


def plan(con: Any, source: str, limits: Tasks) -> Plan:
    columns = target_columns(key="record_id", subtask="'day'", record_id="record_id", problem="null")
    return Plan(f"select {columns} from records where source = '{source}'")


def render(row: Row, given: Given) -> Rendered:
    return Rendered("tasks/day_guessing", {"person": row["person_text"], "text": row["text"]}, f"{row['created_at']:%A}")


TASK = Task(
    tables=("records", "profiles"),
    templates=("tasks/day_guessing",),
    plan=plan,
    render=render,
    columns="r.text",
    person="person",
    records="records",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """T8 is declared: its facts, its module and its prompt, in a folder that holds the product's prompts too."""
    for file in PROMPTS.rglob("*.md"):
        (tmp_path / file.relative_to(PROMPTS)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.relative_to(PROMPTS)).write_text(file.read_text())
    text = (
        "---\nname: tasks/day_guessing\nrole: contestant\nschema: text\ndescription: T8\n---\n## user\n{{ person }} {{ text }}\n"
    )
    (tmp_path / "tasks/day_guessing.md").write_text(text)
    load = Prompt.load
    monkeypatch.setattr(Prompt, "load", lambda name: load(name, tmp_path))
    monkeypatch.setitem(TASKS, "day_guessing", TaskFacts("Day Guessing", ("reddit",), ("day",)))
    declare(monkeypatch, TASK)
    yield tmp_path


def declare(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    module = ModuleType(MODULE)
    module.TASK = task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)


def graph(tmp_path: Path) -> Graph:
    return build_graph(load_profile("local"), Home(tmp_path))


def test_a_task_that_is_only_declared_has_pairs_inputs_samples_and_a_contract(folder: Path, tmp_path: Path) -> None:
    node = graph(tmp_path)["task_datasets"]
    assert "day_guessing-reddit" in node.partitions and "day_guessing-reddit" in pairs(("reddit",))
    upstream = {asset for asset, _ in node.parents("day_guessing-reddit")}
    assert upstream == {"filtered_reddit", "user_profiles", "qc_scores"}
    assert node.contract is not None
    (known,) = [e.kwargs["value_set"] for e in node.contract.expectations if e.id == "samples.task"]
    assert "day_guessing" in known

    con = connect(rows())
    counts = plan_samples(con, "day_guessing-reddit", LIMITS)
    built = list(build_samples(con, "day_guessing-reddit", LIMITS))
    assert counts.kept == len(built) == 64 and {s["task"] for s in built} == {"day_guessing"}
    shown = next(s for s in built if s["item_ids"])
    assert orjson.loads(shown["conversations"])[0]["value"].startswith(("Persona of", "Profile of"))


def test_a_template_that_the_declaration_lacks_is_a_bug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, replace(TASK, templates=("tasks/social_qa",)))
    con = connect(rows())
    plan_samples(con, "day_guessing-reddit", LIMITS)
    with pytest.raises(RuntimeError, match="which its `templates` do not name"):
        list(build_samples(con, "day_guessing-reddit", LIMITS))


def test_a_benchmark_of_a_task_that_the_paper_lacks_is_in_the_report(folder: Path) -> None:
    benchmarks = {"days": Benchmark(kind="choice", task="day_guessing"), "qa": Benchmark(kind="choice", task="social_qa")}
    summaries = [
        summary(benchmark, "model", "accuracy", value, distractors)
        for benchmark, value in (("days", 0.4321), ("qa", 0.2))
        for distractors in ("llm", "human")
    ]
    html, numbers = benchmark_report(BenchmarkInputs(summaries, [], benchmarks, CONTEXT))
    found = {(n["section"], n["column"]): n["value"] for n in numbers if n["value"] is not None}
    assert found["In-domain tasks that the paper does not have", "Day Guessing"] == pytest.approx(43.21)
    assert found["Table 1, distractors written by people", "Day Guessing"] == pytest.approx(43.21)
    assert "43.21" in html


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, r"`day_guessing` has no plan and no renderer; add humanllm_assets/tasks/day_guessing.py"),
        (
            replace(TASK, templates=()),
            r"`day_guessing` has no prompt; name its `templates` in humanllm_assets/tasks/day_guessing.py",
        ),
        (replace(TASK, templates=("tasks/nights",)), r"`day_guessing` has no usable prompt prompts/tasks/nights.md"),
        (replace(TASK, tables=("records", "dreams")), r"reads dreams; in humanllm_assets/tasks/day_guessing.py name tables of"),
    ],
)
def test_a_missing_part_is_named_when_the_graph_is_built(
    task: Task | None, message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if task:
        declare(monkeypatch, task)
    else:
        monkeypatch.delitem(sys.modules, MODULE)
    with pytest.raises(IncompleteTask, match=message):
        graph(tmp_path)


def test_the_products_tasks_are_complete() -> None:
    check_tasks(TASKS)
    assert Contract.load("task_datasets", Thresholds(), lists=task_lists(TASKS)).expectations


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_of_a_tasks_sql_makes_its_own_pairs_stale_and_no_others(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = graph(tmp_path)["task_datasets"]
    old = {pair: before.own_identity(pair) for pair in before.partitions}
    file_of = code_version._file
    edited = tmp_path / "edited.py"
    edited.write_text((file_of(f"humanllm_assets.tasks.{task}") or Path()).read_text() + "\nEDITED = True\n")  # type: ignore[operator]
    monkeypatch.setattr(
        code_version, "_file", lambda module: edited if module == f"humanllm_assets.tasks.{task}" else file_of(module)
    )
    for remembered in (code_version._module, code_version.module_versions, code_version._function_versions):
        remembered.cache_clear()
    after = graph(tmp_path)["task_datasets"]
    changed = {pair for pair in after.partitions if after.own_identity(pair) != old[pair]}
    monkeypatch.undo()
    for remembered in (code_version._module, code_version.module_versions, code_version._function_versions):
        remembered.cache_clear()
    assert changed == {pair for pair in before.partitions if pair.startswith(f"{task}-")}


def test_nothing_but_the_task_datasets_holds_a_tasks_code(tmp_path: Path) -> None:
    built = graph(tmp_path)
    modules = {f"humanllm_assets.tasks.{task}" for task in TASKS}
    for node in built.nodes.values():
        own = {m for p in node.partitions for m in node.code_versions(p) if m in modules}
        assert own == (modules if node.name == "task_datasets" else set()), node.name


def test_only_texts_that_may_be_shown_are_declared_for_tasks() -> None:
    assert {task: load_task(task).person_kinds for task in TASKS} == {
        "profile_generation": (),
        "scenario_generation": (),
        "social_qa": ("persona", "profile"),
        "writing_imitation": ("style",),
        "personalized_commenting": ("persona", "profile"),
        "item_selection": ("persona", "profile"),
    }
