"""A judge that cannot tell damaged copies from originals publishes no scores where the profile is strict, and says so where it is not.

The real graph up to qc_scores over two tiny subreddits; the judge is scripted, over real HTTP.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from humanllm_assets.commands.summary import judge_line
from humanllm_assets.lineage.nodes import Runtime
from humanllm_assets.lineage.removal.scrub import Mentions
from humanllm_assets.lineage.staleness.plan import plan
from humanllm_assets.lineage.step import ContractFailed, StepError, run_step
from humanllm_assets.quality.assets import judged_sources
from humanllm_assets_tests.lineage.reddit_world import NAMES, RedditWorld, _connect, copying_answer, run_graph
from resources.item_kinds import ITEM_KINDS
from resources.llm import dummy_server
from resources.llm.dummy_server import DummyServer, Scripted
from resources.llm.engine import Engine
from resources.llm.journal import Journal

ITEMS = 4
SYNTHESIZED = ("user_profiles", "scenarios", "social_qa")
_ITEM = re.compile(r"<item>\n(.*)\n</item>", re.S)


class Judge:
    """The script of the judge: `good` gives 9 to an original beside its own user's records and 2 to everything else; a blind one gives
    9 to all."""

    def __init__(self) -> None:
        self.originals: set[tuple[str, str]] = set()  # the text that is judged, and its user's name
        self.good = True
        self.asked: list[tuple[str, int]] = []  # item and seed

    def __call__(self, body: dict[str, Any], number: int, headers: Mapping[str, str]) -> Scripted | None:
        schema = body.get("response_format", {}).get("json_schema", {})
        if not schema.get("name", "").endswith("Scores"):
            return None
        found = _ITEM.search(body["messages"][-1]["content"])
        assert found
        self.asked.append((found[1], body["seed"]))
        shown = body["messages"][-1]["content"].replace(found[1], "").lower()
        score = 9 if not self.good or any((found[1], name) in self.originals for name in NAMES if name in shown) else 2
        content = json.dumps(
            {
                n: score if "enum" in p else "Every detail of it stands in the source."
                for n, p in schema["schema"]["properties"].items()
            }
        )
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        return Scripted(
            200, {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
        )


@pytest.fixture(scope="module")
def server() -> Iterator[DummyServer]:
    with pytest.MonkeyPatch.context() as patch, DummyServer() as found:
        patch.setattr(dummy_server, "answer_to", copying_answer)
        yield found


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, server: DummyServer) -> Path:
    """A world in which everything that is judged is written."""
    world = RedditWorld(tmp_path_factory.mktemp("base"), server)
    world.run_to(SYNTHESIZED)
    return world.root


class JudgedWorld:
    """A copy of the base with a calibration of its own."""

    def __init__(self, root: Path, base: Path, server: DummyServer, severity: str, **calibration: object) -> None:
        shutil.copytree(base, root)
        self.world, self.judge = RedditWorld(root, server), Judge()
        server.script = self.judge
        self.project = self.world.project
        thresholds = self.project.profile.thresholds.model_dump(mode="json")
        thresholds["calibration"] |= {"items": ITEMS, "copies": None, "severity": severity, **calibration}
        thresholds["qc"] |= {"overall_above": 8, "metric_above": 7}
        self.project.edit(thresholds=thresholds)
        for asset in SYNTHESIZED:
            for row in self.rows(asset, "reddit", "items"):
                parts = [c for c in ("background", "characters", "plots", "scenario", "question", "answer") if c in row]
                text = row["text"] if "text" in row else "\n\n".join(f"{c.title()}: {row[c]}" for c in parts)
                self.judge.originals.add((text, row["user_id"].removeprefix("reddit/")))

    def rows(self, asset: str, partition: str, table: str) -> list[dict[str, Any]]:
        snapshot = self.project.store.published(asset, partition)
        assert snapshot is not None, (asset, partition)
        found = duckdb.execute("select * from read_parquet(?)", [str(snapshot.path(table))])
        names = [c[0] for c in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def run(self, *targets: tuple[str, str]) -> list[str]:
        """Bring targets up to date, the contract of one calibration included; returns what went wrong."""
        graph, wrong = self.world.graph, []
        with Engine(self.project.profile, self.project.home.root) as engine:
            runtime = Runtime(self.project.profile, graph, self.project.home, self.project.store, _connect, lambda: engine)
            for asset, partition in graph.upstream_closure(targets):
                audit = None if (asset, partition) == CHECKED else lambda node, step: {}
                try:
                    run_step(graph[asset], partition, runtime, log=lambda line: None, audit=audit)
                except (ContractFailed, StepError) as e:
                    wrong.append(str(e))
        return wrong


CHECKED = ("judge_calibration", "judge-persona")
QC = ("qc_scores", "reddit")
KEYS = tuple(f"judge-{kind.name}" for kind in ITEM_KINDS)


def test_a_blind_judge_publishes_no_scores_where_the_profile_is_strict(tmp_path: Path, base: Path, server: DummyServer) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "critical")
    world.judge.good = False
    wrong = world.run(QC)
    assert len(wrong) == 3, wrong
    assert wrong[0].startswith("judge_calibration[judge-persona] was not published: ") and "figures.value >= 0.7" in wrong[0]
    assert "judge_approval[judge-persona] needs judge_calibration[judge-persona], not published yet" in wrong[1]
    assert "qc_scores[reddit] needs judge_approval[judge-persona], not published yet" in wrong[2]
    assert world.project.store.published(*QC) is None

    thresholds = world.project.profile.thresholds.model_dump(mode="json")
    world.project.edit(thresholds=thresholds | {"calibration": {**thresholds["calibration"], "severity": "warning"}})
    assert world.run(QC) == [], "the same answers, another severity: the scores are published"


def test_a_good_judge_may_block_and_its_items_are_asked_once(tmp_path: Path, base: Path, server: DummyServer) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "critical")
    assert world.run(QC) == []
    assert {a["says"] for key in KEYS for a in world.rows("judge_approval", key, "approvals")} == {"judge calibrated"}
    figures = [f for key in KEYS for f in world.rows("judge_calibration", key, "figures")]
    assert {f["value"] for f in figures if f["required"]} == {1.0}
    assert len(world.judge.asked) == len(set(world.judge.asked)), "the first score of an original is the journal's"
    scores = world.rows(*QC, "scores")
    asked = {item for item, _ in world.judge.asked}
    assert len(scores) == len(world.judge.originals) and {text for text, _ in world.judge.originals} <= asked
    assert all(s["kept"] for s in scores)

    first = world.project.store.published(*QC).manifest.data_version  # type: ignore[union-attr]
    before = len(world.judge.asked)
    thresholds = world.project.profile.thresholds.model_dump(mode="json")
    thresholds["calibration"] |= {"items": ITEMS - 1, "min_auc": 0.8}
    world.project.edit(thresholds=thresholds)
    stale = {s.asset for s in plan(world.world.graph, world.project.store)}
    assert "judge_calibration" in stale and "qc_scores" in stale
    computed = run_graph(world.project, world.world.graph, [QC])
    assert {asset for asset, _ in computed} == {"judge_calibration", "judge_approval"}, "still calibrated: no score is stale"
    assert len(world.judge.asked) == before
    assert world.project.store.published(*QC).manifest.data_version == first  # type: ignore[union-attr]


def test_a_blind_judge_publishes_where_the_profile_is_loose_and_every_number_says_so(
    tmp_path: Path, base: Path, server: DummyServer
) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "warning")
    world.judge.good = False
    assert world.run(QC) == []
    manifest = world.project.store.published(*QC).manifest  # type: ignore[union-attr]
    said = {k: v for k, v in manifest.measures.items() if k.startswith("judge of ")}
    assert set(said) == {f"judge of {kind.name}" for kind in ITEM_KINDS}
    assert all(
        re.match(r"judge not calibrated: AUC 0\.50 \(0\.\d\d-0\.\d\d\) for \w+, at least 0\.7 is wanted", str(v))
        for v in said.values()
    )
    line = judge_line(world.project.store, world.project.profile)
    assert all(kind.name in line for kind in ITEM_KINDS) and "judge not calibrated: AUC 0.50" in line


def test_copies_are_scores_of_what_they_say(tmp_path: Path, base: Path, server: DummyServer) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "critical")
    assert world.run(*(("judge_calibration", key) for key in KEYS)) == []
    for kind in ITEM_KINDS:
        rows = world.rows("judge_calibration", f"judge-{kind.name}", "scores")
        assert len({r["score_id"] for r in rows}) == len(rows) and {r["metric"] for r in rows} == set(kind.metrics)
        assert len({r["item_id"] for r in rows}) == ITEMS
        damages = {r["damage"] for r in rows}
        assert {"none", "repeat", "swapped_facts", "filler", "contradiction", "verbosity", "other_language"} <= damages
        assert ("newest_first" in damages) == kind.about_user
        assert ({"pasted_answer", "flipped_answer"} <= damages) == (kind.name == "qa")
        users = {r["item_id"]: r["user_id"] for r in rows}
        for r in rows:
            assert (r["other_item_id"] is not None) == (r["damage"] in ("swapped_facts", "flipped_answer"))
            if r["damage"] == "swapped_facts":
                assert users[r["item_id"]] not in r["other_item_id"]
        manifest = world.project.store.published("judge_calibration", f"judge-{kind.name}").manifest  # type: ignore[union-attr]
        assert manifest.counts.unaccounted == 0 and manifest.counts.kept == len({(r["item_id"], r["damage"]) for r in rows})


def test_a_takedown_finds_what_the_judge_said_of_a_users_words_in_anothers_item(
    tmp_path: Path, base: Path, server: DummyServer
) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "critical")
    assert world.run(CHECKED) == []
    swapped = {(r["item_id"], r["other_item_id"]) for r in world.rows(*CHECKED, "scores") if r["damage"] == "swapped_facts"}
    user = min(other for _, other in swapped).partition("#")[0]
    about = {item for item, other in swapped if other.startswith(f"{user}#")}
    journal = Journal(world.project.home.root)
    try:
        own = journal.about(user)
        assert about and not any(item.startswith(f"{user}#") for item in about)
        assert len(journal.purge(user, Mentions([user]).found)) == own + len(about)
    finally:
        journal.close()


def test_a_judge_that_is_not_measured_reads_and_asks_nothing(tmp_path: Path, base: Path, server: DummyServer) -> None:
    world = JudgedWorld(tmp_path / "w", base, server, "warning", items=0)
    assert world.run(*(("judge_approval", key) for key in KEYS)) == []
    assert world.judge.asked == []
    assert {a["says"] for key in KEYS for a in world.rows("judge_approval", key, "approvals")} == {
        "judge not calibrated: it was never measured"
    }
    strict = JudgedWorld(tmp_path / "s", base, server, "critical", items=0)
    assert strict.run(CHECKED)[0].startswith("judge_calibration[judge-persona] was not published: ")


def test_calibration_takes_the_first_source_or_those_that_are_named(base: Path, server: DummyServer) -> None:
    from resources.profile import load_profile

    profile = load_profile("local")
    assert judged_sources(profile) == {key: ("reddit",) for key in KEYS}
    calibration = profile.thresholds.calibration.model_copy(update={"sources": ["twitter", "amazon"]})
    thresholds = profile.thresholds.model_copy(update={"calibration": calibration})
    found = judged_sources(profile.model_copy(update={"thresholds": thresholds}))
    assert found["judge-persona"] == ("twitter", "amazon") and found["judge-qa"] == ("twitter",)
