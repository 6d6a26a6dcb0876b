"""A benchmark from its questions to its report rows, over real HTTP against the dummy server."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from humanllm_assets.asking.questions import Sink, Tally
from humanllm_assets.evaluation.benchmark_report import benchmark_numbers
from humanllm_assets.evaluation.benchmarks import load_kind
from humanllm_assets.evaluation.benchmarks.application import application_items
from humanllm_assets.evaluation.benchmarks.choice import choice_items, write_distractors
from humanllm_assets.evaluation.benchmarks.item_selection import item_selection_items
from humanllm_assets.evaluation.contest import Contest, contestant_role
from humanllm_assets.evaluation.differences import compare
from humanllm_assets.evaluation.items import choose_samples
from humanllm_assets.tasks.samples import build_samples, plan_samples
from humanllm_assets_tests.tasks.world import connect, rows
from resources.llm.dummy_server import DummyServer
from resources.llm.engine import Engine
from resources.profile import Benchmark, Distractor, Model, Role, load_profile
from resources.thresholds import Tasks


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory):
    with DummyServer() as server:
        models = {k: Model(name="dummy", revision=k, endpoints=[server.base_url + "/v1"]) for k in ("base", "writer")}
        profile = load_profile("local").model_copy(update={"models": models})
        with Engine(profile, tmp_path_factory.mktemp("home")) as engine:
            yield engine


@pytest.fixture(scope="module")
def samples():
    con, result = connect(rows(users=12)), []
    for pair in ("item_selection-amazon", "social_qa-reddit"):
        plan_samples(con, pair, Tasks(test_fraction=0.7))
        result += build_samples(con, pair, Tasks(test_fraction=0.7))
    return result


def contest(engine: Engine, name: str, benchmark: Benchmark, items: list, judge: Role | None = None) -> Contest:
    """The contestant `dummy` in front of a benchmark, without a step's store."""
    roles = {"application_judge": judge} if judge else {}
    step = SimpleNamespace(engine=engine, partition=name, log=quiet, profile=SimpleNamespace(roles=roles))
    role = contestant_role(Role(model="base"), benchmark, "base")
    return Contest(step, benchmark, "dummy", "base", role, items, Tally(), Sink(lambda table, rows: None))  # type: ignore[arg-type]


def test_choice_benchmarks(engine: Engine, samples: list):
    role = Role(model="base", max_tokens=64)
    chosen = choose_samples(samples, "social_qa", None, "qa", 8)
    writers, sink = [Distractor(model="writer", seed=s) for s in range(4)], Sink(lambda table, rows: None)
    written = write_distractors(engine, chosen, writers, role, quiet, Tally(), sink)
    built = {
        "qa": choice_items(samples, "qa", "social_qa", written, 8).items,
        "items": item_selection_items(samples, "items", 20).items,
    }
    benchmarks = {
        "qa": Benchmark(kind="choice", task="social_qa"),
        "items": Benchmark(kind="item_selection", task="item_selection"),
    }
    summaries = []
    for name, items in built.items():
        kind, asked = load_kind(benchmarks[name].kind), contest(engine, name, benchmarks[name], items)
        answers = kind.answer(asked)
        assert asked.counts.check().answered == len(items)
        assert len(answers) == len(items) and {a["item_id"] for a in answers} == {i["item_id"] for i in items}
        assert sum(a["chosen"] is not None for a in answers) > len(answers) / 2 and any(a["rank"] for a in answers)
        assert all(d.value == 0 for d in compare(answers, answers).values())
        summaries += kind.summarise(items, answers)
    assert {"accuracy", "mrr", "minus_other_persona", "chance"} <= {s["metric"] for s in summaries}
    assert any(r["column"] == "Social QA" and r["value"] is not None for r in benchmark_numbers(summaries, benchmarks))


def test_application(engine: Engine, samples: list):
    items = application_items(samples, "app", "human_explainer", 5)
    benchmark = Benchmark(kind="application", subset="human_explainer", max_tokens=128)
    kind, asked = load_kind("application"), contest(engine, "app", benchmark, items, Role(model="base", max_tokens=128))
    answers = kind.answer(asked)
    assert asked.counts.check().asked == 10
    assert len(answers) == 15 and all(1 <= a["score"] <= 10 for a in answers if a["score"] is not None)
    assert {r["metric"] for r in kind.summarise(items, answers)} >= {"alignment", "average", "unscored_rate"}
