"""A kind of benchmark is one module and an entry in a profile: a toy one goes from its questions to the report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from humanllm_assets.evaluation import benchmarks
from humanllm_assets.graph import build_graph
from humanllm_assets_tests.conftest import Project
from humanllm_assets_tests.in_process import InProcess
from resources.profile import ProfileError

MODULE = '''
"""Sums: which number is the sum."""

from humanllm_assets.evaluation.benchmarks import Kind, add_nothing
from humanllm_assets.evaluation.contest import Built
from humanllm_assets.evaluation.fixed import Shown, fixed_item
from humanllm_assets.evaluation.report_parts import Column, Layout
from humanllm_assets.evaluation.scoring import answer_choices, choice_identity, summarise_choices


def pairs(parts, benchmark):
    return ()


def build(step, counts, sink):
    def item(n):
        shown = [Shown("A", str(2 * n)), Shown("B", str(2 * n + 1))]
        return fixed_item(f"sums:{n}", benchmark=step.partition, task="sums", source="toy", unit=str(n),
                          prompt=f"{n} + {n}?", shown=shown, answer="A")

    return Built([item(n) for n in range(6)])


def answer(contest):
    return answer_choices(contest)


def summarise(items, answers):
    return summarise_choices(items, answers)


def tables(benchmarks):
    return [Layout("Sums", "", [Column("Sums", name, "accuracy", "fixed", 100) for name in benchmarks], 1)]


def sections(benchmarks, results):
    return []


KIND = Kind(place=9, roles=(), answers_table="answers", pairs=pairs, items_identity=add_nothing, build=build,
            scores_identity=choice_identity, answer=answer, summarise=summarise, tables=tables, sections=sections)
'''


@pytest.fixture
def toy(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of kinds with one more module, and a project with a benchmark of that kind alone."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "sums.py").write_text(MODULE)
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(folder)])
    project.edit(benchmarks={"adding": {"kind": "sums"}})
    yield folder
    sys.modules.pop(f"{benchmarks.__name__}.sums", None)
    benchmarks.load_kind.cache_clear()


def test_a_toy_kind_goes_from_its_questions_to_the_report(project: Project, toy: Path):
    run = InProcess(project)
    summary = run.refresh("benchmark_report")
    assert not summary.failed and not summary.skipped
    report = run.store.published("benchmark_report", "")
    assert report
    shown = duckdb.sql(f"select value from '{report.path('rows')}' where section = 'Sums' and \"column\" = 'Sums'").fetchall()
    assert len(shown) == 1 and 0 <= shown[0][0] <= 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sections=sections)", ")", "required keyword-only argument: 'sections'"),
        ("KIND = Kind(", "OTHER = Kind(", r"benchmarks\.sums must define KIND"),
        ("build=build", "build=fixed_item", r"the part `build` of .*benchmarks\.sums must be a function of that module"),
    ],
)
def test_a_kind_with_a_missing_part_is_named_when_the_graph_is_built(
    project: Project, toy: Path, old: str, new: str, message: str
):
    (toy / "sums.py").write_text(MODULE.replace(old, new))
    with pytest.raises(TypeError, match=message):
        build_graph(project.profile, project.home)


def test_a_kind_that_does_not_exist_names_the_known_ones(project: Project):
    project.edit(benchmarks={"adding": {"kind": "tomnench"}})
    message = r"benchmarks\.adding has the kind `tomnench`, which does not exist; did you mean `tombench`\?; known kinds: "
    with pytest.raises(ProfileError, match=message):
        build_graph(project.profile, project.home)


@pytest.mark.parametrize("task", ["{}", "{task: item_selection}"])
def test_a_choice_is_asked_about_a_task_with_choices(project: Project, task: str):
    project.edit(benchmarks={"adding": {"kind": "choice", **yaml.safe_load(task)}})
    with pytest.raises(
        ProfileError,
        match=r"benchmarks\.adding: a choice needs a task with choices.*; set `task` to one of: profile_generation, ",
    ):
        build_graph(project.profile, project.home)
