"""A benchmark from its questions to its report rows, over real HTTP against the dummy server."""

from __future__ import annotations

import pytest

from humanllm_assets.evaluation.applications import (
    application_answers,
    application_items,
    application_requests,
    judge_requests,
    reply_text,
)
from humanllm_assets.evaluation.items import choice_items, choose_samples, item_selection_items, write_distractors
from humanllm_assets.evaluation.reports import benchmark_numbers
from humanllm_assets.evaluation.scoring import choice_requests, choice_role, compare, score_replies, summary_rows
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


def test_choice_benchmarks(engine: Engine, samples: list):
    role = Role(model="base", max_tokens=64)
    chosen = choose_samples(samples, "social_qa", None, "qa", 8)
    written, _ = write_distractors(engine, chosen, [Distractor(model="writer", seed=s) for s in range(4)], role, quiet)
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
        asked = choice_role(role, benchmarks[name], "base")
        replies = engine.ask(asked, choice_requests(items, ["base"]), label=name, log=quiet)
        answers = list(score_replies(items, replies, "dummy", ["base"]))
        assert len(answers) == len(items) and {a["item_id"] for a in answers} == {i["item_id"] for i in items}
        assert sum(a["chosen"] is not None for a in answers) > len(answers) / 2 and any(a["rank"] for a in answers)
        assert all(d.value == 0 for d in compare(answers, answers).values())
        summaries += summary_rows(benchmarks[name].kind, items, answers)
    assert {"accuracy", "mrr", "minus_other_persona", "chance"} <= {s["metric"] for s in summaries}
    assert any(r["column"] == "Social QA" and r["value"] is not None for r in benchmark_numbers(summaries, benchmarks))


def test_application(engine: Engine, samples: list):
    items = application_items(samples, "app", "human_explainer", 5)
    role = Role(model="base", max_tokens=128)
    texts = {r.key: reply_text(r) for r in engine.ask(role, application_requests(items), label="app", log=quiet)}
    verdicts = {
        r.key: r.value for r in engine.ask(role, judge_requests("human_explainer", items, texts), label="judge", log=quiet)
    }
    answers = list(application_answers("human_explainer", "dummy", items, texts, verdicts))  # type: ignore[arg-type]
    assert len(answers) == 15 and all(1 <= a["score"] <= 10 for a in answers if a["score"] is not None)
    assert {r["metric"] for r in summary_rows("application", items, answers)} >= {"alignment", "average", "unscored_rate"}
