"""Laws of the declaration of item kinds, with a text about the user that the product does not have: interests (P6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from humanllm_assets.contracts.gx_runner import run_contract
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.quality.assets import check_kinds as check_judged
from humanllm_assets.quality.assets import qc_lists
from humanllm_assets.quality.judge import judge_items
from humanllm_assets.sql import Table, arrow_schema
from humanllm_assets.synthesis.assets import check_kinds as check_written
from humanllm_assets.synthesis.assets import find_word_limits, user_text_lists
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets.synthesis.users import OneText, write_profiles
from humanllm_assets.tables import GATE_MEASURES, PROFILES, SCORES
from humanllm_assets_tests.contracts.examples import good_measures
from humanllm_assets_tests.filtering.scripted_engine import ROLE, ScriptedEngine, Tables
from humanllm_assets_tests.filtering.tables import record, with_table
from resources.home import Home
from resources.item_kinds import ITEM_KINDS, IncompleteKind, ItemKind
from resources.profile import load_profile
from resources.prompting.lengths import WordLimits
from resources.prompting.prompts import PROMPTS, Prompt
from resources.thresholds import Gates, Qc, Thresholds, Users


class Interests(OneText):
    text: str = Field(min_length=10, max_length=200)


INTERESTS = ItemKind(
    name="interests",
    number="P6",
    prompt="user_interests",
    metrics=("hallucination", "relevance", "overall"),
    about_user=True,
    shown_as="person",
    longest=5,
)
KINDS = (*ITEM_KINDS, INTERESTS)
HERE = "humanllm_assets_tests.quality.test_item_kinds"


def prompt_text(name: str, role: str, schema: str, body: str) -> str:
    return f"---\nname: {name}\nrole: {role}\nschema: {schema}\ndescription: P6\n---\n## user\n{body}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of prompts that holds the product's and the two of P6; prompts are read from it."""
    for file in PROMPTS.rglob("*.md"):
        (tmp_path / file.relative_to(PROMPTS)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.relative_to(PROMPTS)).write_text(file.read_text())
    written = prompt_text("user_interests", "synthesizer", f"{HERE}:Interests", "{{ records }} What interests this person?")
    judged = prompt_text("judge_interests", "judge", f"{HERE}:INTERESTS.scores", "{{ records }} Judge: {{ item }}")
    (tmp_path / "user_interests.md").write_text(written)
    (tmp_path / "judge_interests.md").write_text(judged)
    load = Prompt.load
    monkeypatch.setattr(Prompt, "load", lambda name: load(name, tmp_path))
    yield tmp_path


def check_rows(contract: Contract, table: str, columns: Table, rows: list[dict[str, Any]], tmp_path: Path) -> Any:
    schema, path = arrow_schema(columns), tmp_path / f"{table}.parquet"
    pq.write_table(pa.Table.from_pylist([{c: row.get(c) for c in schema.names} for row in rows], schema=schema), path)
    files = {table: path}
    if "gates" in contract.tables:
        files["gates"] = tmp_path / "gates.parquet"
        pq.write_table(arrow_schema(GATE_MEASURES).empty_table(), files["gates"])
    return run_contract(contract, files, good_measures(contract)).outcomes


def answer(request: Any) -> Any:
    fields = request.schema.model_fields
    if request.schema is Interests:
        return {"text": "lakes and kettles, more than cities"}
    if "stories" in fields:
        return {"stories": [{"summary": "s" * 20, "story": "s" * 80}]}
    return (
        {"text": "She likes lakes. " * 30}
        if "text" in fields
        else {name: "It is what it is." * 2 if name == "reason" else 9 for name in fields}
    )


def test_a_kind_that_is_only_declared_is_written_judged_and_checked(folder: Path, tmp_path: Path) -> None:
    con = with_table([record(f"r{i}", day=i) for i in range(4)])
    user_sets(con, Users())
    engine, written, judged = ScriptedEngine(answer), Tables(), Tables()
    prompts = {k.name: Prompt.load(k.prompt) for k in KINDS if k.about_user}
    write_profiles(con, engine, ROLE, prompts, {}, written, lambda _: None)  # type: ignore[arg-type]
    items = written.rows("items")
    assert {i["kind"] for i in items} == {"persona", "profile", "stories", "style", "interests"}
    assert next(i for i in items if i["kind"] == "interests")["text"] == "lakes and kettles, more than cities"

    con.register("arrow_items", pa.Table.from_pylist(items, schema=arrow_schema(PROFILES)))
    con.execute("create table profile_items as select * from arrow_items")
    judges = {k.name: Prompt.load(k.judge_prompt) for k in KINDS}
    judge_items(con, engine, ROLE, judges, Qc(), judged, lambda _: None)  # type: ignore[arg-type]
    (row,) = [s for s in judged.rows("scores") if s["item_kind"] == "interests"]
    assert row["kept"] and (row["hallucination"], row["relevance"], row["overall"]) == (9, 9, 9) and row["coverage"] is None

    users = [k for k in KINDS if k.about_user]
    contract = Contract.load("user_profiles", Thresholds(), lists=user_text_lists(users))
    found = check_rows(contract, "items", PROFILES, items, tmp_path)
    assert found["items.kind"].status == found["items.interests_of_every_user"].status == "pass"
    assert find_word_limits(users, Thresholds())["interests"] == WordLimits(longest=5)
    without = check_rows(contract, "items", PROFILES, [i for i in items if i["kind"] != "interests"], tmp_path)
    assert without["items.interests_of_every_user"].status == "fail"

    contract = Contract.load("qc_scores", Thresholds(), lists=qc_lists(KINDS, Gates()))
    scores = judged.rows("scores")
    assert all(o.status == "pass" for o in check_rows(contract, "scores", SCORES, scores, tmp_path).values())


def test_every_metric_of_every_kind_must_be_answered_in_a_kept_item(tmp_path: Path) -> None:
    contract = Contract.load("qc_scores", Thresholds(), lists=qc_lists(KINDS, Gates()))
    good = {
        k.name: {"item_id": k.name, "item_kind": k.name, "user_id": "u", "kept": True} | dict.fromkeys(k.metrics, 9)
        for k in KINDS
    }
    bad = [{**good[k.name], "item_id": f"{k.name} without {metric}", metric: None} for k in KINDS for metric in k.metrics]
    found = check_rows(contract, "scores", SCORES, [*good.values(), *bad], tmp_path)
    named = {row["id"]: i for i, o in found.items() if i.endswith("_answered") for row in o.sample}
    assert named == {f"{k.name} without {m}": f"scores.{k.name}_{m}_answered" for k in KINDS for m in k.metrics}


def graph(monkeypatch: pytest.MonkeyPatch, kinds: tuple[ItemKind, ...], home: Path) -> Graph:
    for stage in ("synthesis", "quality"):
        monkeypatch.setattr(f"humanllm_assets.{stage}.assets.ITEM_KINDS", kinds)
    monkeypatch.setattr("humanllm_assets.synthesis.assets.USER_TEXTS", tuple(k for k in kinds if k.about_user))
    return build_graph(load_profile("local"), Home(home))


def test_the_graph_holds_a_declared_kind_and_every_fact_of_it_counts_where_it_is_used(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identities(kind: ItemKind) -> dict[str, Any]:
        built = graph(monkeypatch, (*ITEM_KINDS, kind), tmp_path)
        return {name: built[name].own_identity("reddit") for name in ("user_profiles", "qc_scores")}

    before = identities(INTERESTS)
    assert "user_interests" in str(before["user_profiles"]) and "judge_interests" in str(before["qc_scores"])
    more_words = identities(replace(INTERESTS, longest=7))
    assert more_words["user_profiles"] != before["user_profiles"] and more_words["qc_scores"] == before["qc_scores"]
    other_prompt = (folder / "user_interests.md").read_text()
    (folder / "user_interests.md").write_text(other_prompt.replace("What interests", "What fascinates"))
    reworded = identities(INTERESTS)
    assert reworded["user_profiles"] != before["user_profiles"] and reworded["qc_scores"] != before["qc_scores"]  # an echo of it
    (folder / "judge_interests.md").write_text(
        (folder / "judge_interests.md").read_text().replace(f"{HERE}:INTERESTS.scores", f"{HERE}:FEWER.scores")
    )
    fewer_metrics = identities(FEWER)
    assert fewer_metrics["qc_scores"] != before["qc_scores"] and fewer_metrics["user_profiles"] == reworded["user_profiles"]


FEWER = replace(INTERESTS, metrics=("hallucination", "overall"))


@pytest.mark.parametrize(
    ("kind", "lacking", "message"),
    [
        (INTERESTS, "user_interests.md", r"`interests` \(P6\) has no usable prompt that writes it, prompts/user_interests.md"),
        (INTERESTS, "judge_interests.md", r"`interests` \(P6\) has no usable prompt that judges it, prompts/judge_interests.md"),
        (
            replace(INTERESTS, metrics=()),
            "",
            r"`interests` \(P6\) has the metrics \(\); give it `overall`.*resources/item_kinds.py",
        ),
        (replace(INTERESTS, metrics=("beauty", "overall")), "", r"\(beauty, overall\); give it"),
        (FEWER, "", r"is judged by prompts/judge_interests.md, which asks for other metrics"),
        (replace(INTERESTS, prompt="scenario"), "", r"has no text: prompts/scenario.md must name a schema that is a UserText"),
    ],
)
def test_a_missing_part_is_named_when_the_graph_is_built(
    kind: ItemKind, lacking: str, message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacking:
        (folder / lacking).unlink()
    with pytest.raises(IncompleteKind, match=message):
        graph(monkeypatch, (*ITEM_KINDS, kind), tmp_path)


def test_the_products_kinds_are_complete() -> None:
    check_written(ITEM_KINDS)
    check_judged(ITEM_KINDS)
