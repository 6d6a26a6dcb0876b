"""Q5: the draw is stratified, and stable against everything but seed and item ids."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import pytest

from humanllm_assets.quality.human_sample import count_strata, draw_items
from humanllm_assets.quality.judge import MissingRecords
from humanllm_assets.tables import SCORES
from humanllm_assets_tests.quality.judged_world import JudgedWorld, write_table

FAMILY = {
    "persona": "profile",
    "profile": "profile",
    "stories": "profile",
    "style": "profile",
    "scenario": "scenario",
    "qa": "qa",
}


def test_every_stratum_gives_as_many_as_any_other_or_all_it_has(tmp_path: Path) -> None:
    world = JudgedWorld(tmp_path)
    con = world.open()
    drawn = draw_items(con, world.records, 30, 1)
    strata = count_strata(con)
    assert len(drawn) == len({i.item_id for i in drawn}) == 30 == sum(s.drawn for s in strata)
    assert len(strata) == 2 * 3 * 2 and {s.kept for s in strata} == {True, False}
    most = max(s.drawn for s in strata)
    assert all(s.drawn in (most, most - 1) or s.drawn == s.judged for s in strata)
    for source in world.sources:  # kinds about a user take turns
        kinds = Counter(i.item_kind for i in drawn if i.source == source and FAMILY[i.item_kind] == "profile")
        assert len(kinds) == 4


def test_the_draw_depends_on_seed_and_ids_alone(tmp_path: Path) -> None:
    drawn = [i.item_id for i in JudgedWorld(tmp_path / "a").draw(25)]
    assert [i.item_id for i in JudgedWorld(tmp_path / "b", backwards=True).draw(25)] == drawn
    assert [i.item_id for i in JudgedWorld(tmp_path / "c", text="{} is another text").draw(25)] == drawn
    assert [i.item_id for i in JudgedWorld(tmp_path / "d").draw(25, seed=2)] != drawn
    assert set(drawn) == {i.item_id for i in JudgedWorld(tmp_path / "e").draw(25)}


def test_more_than_there_is_gives_all(tmp_path: Path) -> None:
    assert len(JudgedWorld(tmp_path).draw(10_000)) == 2 * 6 * 6


def test_the_order_does_not_tell_the_verdict(tmp_path: Path) -> None:
    """Sorted by strata, the first half of a sheet would be what the judge dropped."""
    world = JudgedWorld(tmp_path, users=40)
    drawn = [i.item_id for i in world.draw(120)]
    kept = dict(world.open().execute("select item_id, kept from judged").fetchall())
    first = sum(kept[item] for item in drawn[:60])
    assert 15 < first < 45


def test_an_item_shows_its_records_and_its_text_as_the_judge_sees_it(tmp_path: Path) -> None:
    found = {i.item_id: i for i in JudgedWorld(tmp_path).draw(10_000)}
    scenario = found["reddit:r1#scenario"]
    assert scenario.text.startswith("Background: background said") and "\n\nPlots: plots said" in scenario.text
    assert scenario.records == ["[2021-03-04]\nreddit:r1 said that the lake froze"]
    assert found["twitter/user2#persona"].records == ["[2021-03-04]\ntwitter:r2 said that the lake froze"]


def test_an_unanswered_item_is_not_drawn(tmp_path: Path) -> None:
    world = JudgedWorld(tmp_path, users=2, sources=("reddit",))
    rows = duckdb.sql(f"from read_parquet('{world.files['qc_scores']['reddit']}')").to_arrow_table().to_pylist()
    rows[0] |= {"kept": False, "dropped_by": "unanswered"}
    write_table(world.files["qc_scores"]["reddit"], SCORES, rows)
    assert rows[0]["item_id"] not in {i.item_id for i in world.draw(1000)} and len(world.draw(1000)) == 11


def test_an_item_without_its_record_is_refused(tmp_path: Path) -> None:
    world = JudgedWorld(tmp_path)
    world.records["reddit"] = world.records["twitter"]
    with pytest.raises(MissingRecords, match=r"was made from reddit:r\d, which filtered_reddit does not hold"):
        world.draw(60)


def test_a_sample_is_named_by_what_it_holds(tmp_path: Path) -> None:
    name = JudgedWorld(tmp_path / "a").sample().id
    assert JudgedWorld(tmp_path / "b", backwards=True).sample().id == name
    assert JudgedWorld(tmp_path / "c", text="{} is another text").sample().id != name
    assert JudgedWorld(tmp_path / "d").sample(seed=2).id != name
