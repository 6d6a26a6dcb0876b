"""What a recipe trains on: never the test split; shares, draws and split points by stable hash."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import ValidationError

from humanllm_assets.tasks.split import split_of
from humanllm_assets.training.data import TrainingDataError, raw_samples, share_out, training_samples
from resources.profile import ExternalData, Hyperparameters, Recipe

PAIRS = [("social_qa", "reddit"), ("social_qa", "twitter"), ("item_selection", "amazon")]


def turns(text: str) -> str:
    return json.dumps([{"from": "human", "value": text}, {"from": "gpt", "value": text.upper()}])


@pytest.fixture
def con():
    with duckdb.connect() as con:
        yield con


@pytest.fixture
def tables(tmp_path: Path, con) -> dict[tuple[str, str], Path]:
    """Per pair 20 samples, every fourth in the test split."""
    found = {}
    for task, source in PAIRS:
        rows = [
            (f"{task}-{source}-{i}", task, source, "test" if i % 4 == 0 else "train", f"u{i}", turns(f"{i}")) for i in range(20)
        ]
        found[task, source] = tmp_path / f"{task}-{source}.parquet"
        con.execute(
            "create or replace temp table t "
            "(sample_id text, task text, source text, split text, user_id text, conversations text)"
        )
        con.executemany("insert into t values (?, ?, ?, ?, ?, ?)", rows)
        con.execute(f"copy t to '{found[task, source]}' (format parquet)")
    return found


def sharegpt(path: Path, n: int) -> ExternalData:
    lines = [json.dumps({"id": i, "conversations": json.loads(turns(f"{path.stem} {i}"))}) for i in range(n)]
    path.write_text("\n".join(lines) + "\n")
    return ExternalData(name=path.stem, path=str(path), revision="1", share=0.25)


def ids(con: Any, path: Path) -> list[str]:
    return [r[0] for r in con.execute(f"select sample_id from '{path}'").fetchall()]


def test_only_the_train_split_of_the_recipes_pairs(con, tables, tmp_path):
    recipe = Recipe(base_model="m", tasks=["social_qa"], sources=["reddit", "amazon"])
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    assert data.counts == {("social_qa", "reddit"): 15} and data.rows == 15
    assert ids(con, data.path) == sorted(f"social_qa-reddit-{i}" for i in range(20) if i % 4)


def test_a_test_sample_under_another_split_is_refused(con, tables, tmp_path):
    con.execute(
        f"copy (select * replace ('test' as split) from '{tables[PAIRS[0]]}') to '{tmp_path / 'held.parquet'}' (format parquet)"
    )
    recipe = Recipe(base_model="m", tasks=["social_qa"])
    with pytest.raises(TrainingDataError, match="of the test split would be trained"):
        training_samples(
            con, {**tables, ("item_selection", "other"): tmp_path / "held.parquet"}, recipe, tmp_path / "out.parquet"
        )
    assert not (tmp_path / "out.parquet").exists()


def test_a_sample_id_twice_is_refused(con, tables, tmp_path):
    both = {**tables, ("social_qa", "blogger"): tables["social_qa", "reddit"]}
    with pytest.raises(TrainingDataError, match="occurs twice"):
        training_samples(con, both, Recipe(base_model="m"), tmp_path / "out.parquet")


def test_recipe_without_any_data_set_says_so(con, tables, tmp_path):
    with pytest.raises(TrainingDataError, match="no task data set belongs to the recipe"):
        training_samples(con, tables, Recipe(base_model="m", tasks=["profile_generation"]), tmp_path / "out.parquet")


@pytest.mark.parametrize(("n", "each"), [(100, 22), (10, 10)])
def test_mix_has_its_shares_whichever_origin_is_scarce(con, tables, tmp_path, n, each):
    mix = [sharegpt(tmp_path / "smoltalk.jsonl", n), sharegpt(tmp_path / "orca.jsonl", n)]
    data = training_samples(con, tables, Recipe(base_model="m", mix=mix), tmp_path / "out.parquet")
    assert data.counts["external", "smoltalk"] == data.counts["external", "orca"] == each
    assert data.shares()["humanllm"] == pytest.approx(0.5, abs=0.02)
    again = training_samples(con, tables, Recipe(base_model="m", mix=mix), tmp_path / "again.parquet")
    assert ids(con, again.path) == ids(con, data.path)
    other = Recipe(base_model="m", mix=mix, hyperparameters=Hyperparameters(seed=1))
    assert ids(con, training_samples(con, tables, other, tmp_path / "other.parquet").path) != ids(con, data.path)


def test_unusable_mix_files_are_all_named_in_one_message(con, tables, tmp_path):
    broken, other = (sharegpt(tmp_path / name, 1) for name in ("broken.jsonl", "other.jsonl"))
    (tmp_path / "broken.jsonl").write_text('{"conversations": [\n')
    (tmp_path / "other.jsonl").write_text('{"dialogue": []}\n')
    gone = ExternalData(name="gone", path=str(tmp_path / "gone.jsonl"), revision="1", share=0.25)
    with pytest.raises(TrainingDataError) as refused:
        training_samples(con, tables, Recipe(base_model="m", mix=[broken, other, gone]), tmp_path / "out.parquet")
    for message in (
        "`broken` of the recipe's mix can't be used: 1 of its 1 lines are left out (1 not_json)",
        "`other` of the recipe's mix can't be used: 1 of its 1 lines are left out (1 unknown_layout)",
        "`gone` of the recipe's mix is missing",
    ):
        assert message in str(refused.value)


HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
LEFT_OUT = {
    "not_json": "{broken",
    "unknown_layout": [],
    "no_turns": {"conversations": []},
    "missing_field": {"messages": [{"role": "user"}, {"role": "assistant", "content": "a"}]},
    "unknown_role": {"conversations": [HUMAN, {"from": "tool", "value": "{}"}, GPT]},
    "not_text": {"question": ["q"], "response": "a"},
    "empty_text": {"conversations": [HUMAN, {"from": "gpt", "value": " \n"}]},
    "wrong_order": {"conversations": [GPT, HUMAN, GPT]},
    "ends_without_answer": {"conversations": [HUMAN, GPT, HUMAN]},
}


def test_irregular_lines_of_a_mix_are_left_out_and_counted_by_name(con, tables, tmp_path):
    lines: list[Any] = [
        {"conversations": [HUMAN, GPT]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},  # the same again
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
        {"system_prompt": "s", "question": "q2", "response": "a"},
        {"system_prompt": "", "question": "q3", "response": "a"},
        {"system": "s", "conversations": [HUMAN, GPT, {"from": "user", "value": "q4"}, {"from": "assistant", "value": "a"}]},
        *LEFT_OUT.values(),
    ]
    path = tmp_path / "mixed.jsonl"
    path.write_text("\n\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    recipe = Recipe(base_model="m", mix=[ExternalData(name="mixed", path=str(path), revision="1", share=0.1)], held_out=0)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet", max_left_out=0.6)
    assert data.origins["mixed"].read == len(lines)
    assert data.origins["mixed"].left_out == {**dict.fromkeys(LEFT_OUT, 1), "twice": 1}
    assert data.counts["external", "mixed"] == 5 and data.rows == 50
    assert "mixed: 15 rows read, 1 empty_text, " in data.describe_mix()[0]
    with pytest.raises(TrainingDataError, match=r"9 of its 15 lines are left out .*at most 5% may be"):
        training_samples(con, tables, recipe, tmp_path / "out.parquet")


def test_own_samples_left_out_for_a_scarce_mix_are_said(con, tables, tmp_path):
    recipe = Recipe(base_model="m", mix=[sharegpt(tmp_path / "scarce.jsonl", 3)], held_out=0)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    assert data.describe_mix() == [
        "scarce: 3 rows read, none left out; 25.0% of the training data (25.0% asked for)",
        "humanllm: 45 rows read, 36 not_drawn left out; 75.0% of the training data (75.0% asked for)",
    ]


def test_a_share_that_left_out_samples_change_is_measured(con, tables, tmp_path):
    recipe = Recipe(base_model="m", mix=[sharegpt(tmp_path / "mixed.jsonl", 15)], held_out=0)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    for left_out, error in ((0, 0.0), (15, 0.25)):
        con.execute(
            f"copy (select sample_id from '{data.path}' where task = 'external' order by all limit {left_out}) "
            f"to '{tmp_path / 'dropped.parquet'}' (format parquet)"
        )
        assert data.share_error(tmp_path / "dropped.parquet") == pytest.approx(error)


def test_held_out_users_are_trained_on_in_no_task(con, tables, tmp_path):
    recipe = Recipe(base_model="m", held_out=0.3)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    users = [{r[0] for r in con.execute(f"select user_id from '{path}'").fetchall()} for path in (data.path, data.held_out)]
    assert users[0] and users[1] and not users[0] & users[1]
    assert data.held_out_rows + data.rows == 45
    more = training_samples(con, tables, recipe.model_copy(update={"held_out": 0.5}), tmp_path / "more.parquet")
    assert users[1] < {r[0] for r in con.execute(f"select user_id from '{more.held_out}'").fetchall()}


def test_raw_records_leave_test_users_out_and_split_at_word_ends(con, tmp_path):
    text = "ein langer Text über Züge 🚂, und noch einer"
    con.execute("create temp table r (record_id text, source text, user_id text, text text)")
    con.executemany("insert into r values (?, 'reddit', ?, ?)", [(f"r{i}", f"reddit/u{i % 40}", text) for i in range(200)])
    con.execute(f"copy r to '{tmp_path / 'r.parquet'}' (format parquet)")
    recipe = Recipe(base_model="m", objective="raw_continuation", held_out=0)
    data = raw_samples(con, {"reddit": [tmp_path / "r.parquet"]}, recipe, 0.3, tmp_path / "raw.parquet")
    rows = con.execute(f"select user_id, text, split_at from '{data.path}'").fetchall()
    assert {u for u, _, _ in rows} == {f"reddit/u{i}" for i in range(40) if split_of(f"reddit/u{i}", 0.3) == "train"}
    assert all(
        0 < at < len(t) and (t[at] == " " or " " not in t[at:]) for _, t, at in rows
    )  # the last word has no end before the text
    assert len({at for _, _, at in rows}) > 3


# ---- how many of what (T7) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "available", "weights", "given"),
    [
        (9, {"a": 10, "b": 10, "c": 10}, {}, {"a": 3, "b": 3, "c": 3}),
        (9, {"a": 1, "b": 10, "c": 10}, {}, {"a": 1, "b": 4, "c": 4}),
        (10, {"a": 1, "b": 2, "c": 100}, {}, {"a": 1, "b": 2, "c": 7}),
        (8, {"a": 10, "b": 10}, {"a": 3.0}, {"a": 6, "b": 2}),
        (8, {"a": 4, "b": 10}, {"a": 3.0}, {"a": 4, "b": 4}),
        (5, {"a": 3, "b": 3}, {}, {"a": 2, "b": 3}),
        (7, {"a": 3, "b": 3}, {}, {"a": 3, "b": 3}),
        (0, {"a": 3}, {}, {"a": 0}),
    ],
)
def test_a_number_is_shared_out_as_evenly_as_there_is_something(total, available, weights, given):
    assert share_out(total, available, weights) == given


def test_shared_out_numbers_always_have_the_sum_and_fit():
    random_ = random.Random(1)
    for _ in range(2000):
        available = {key: random_.randint(0, 9) for key in range(random_.randint(1, 6))}
        weights = {key: random_.choice([0.1, 0.5, 1.0, 3.0]) for key in available if random_.random() < 0.5}
        total = random_.randint(0, 40)
        given = share_out(total, available, weights)
        assert sum(given.values()) == min(total, sum(available.values()))
        assert all(0 <= given[key] <= available[key] for key in available)


def test_a_recipe_draws_as_many_samples_as_it_says_evenly_by_task_and_source(con, tables, tmp_path):
    recipe = Recipe(base_model="m", samples=20, held_out=0)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    # two tasks of ten; the ten of social_qa from two sources
    assert data.counts == {("social_qa", "reddit"): 5, ("social_qa", "twitter"): 5, ("item_selection", "amazon"): 10}
    assert data.not_drawn == {("social_qa", "reddit"): 10, ("social_qa", "twitter"): 10, ("item_selection", "amazon"): 5}
    assert data.left_out() == {"not_drawn": 25} and data.rows == 20
    assert "social_qa of reddit: 5 samples drawn, 10 not" in data.describe_draw()
    weighted = Recipe(base_model="m", samples=20, held_out=0, task_weights={"social_qa": 3}, source_weights={"twitter": 2})
    assert training_samples(con, tables, weighted, tmp_path / "out.parquet").counts == {
        ("social_qa", "reddit"): 5, ("social_qa", "twitter"): 10, ("item_selection", "amazon"): 5,
    }  # fmt: skip


def test_a_smaller_draw_is_part_of_a_larger_one(con, tables, tmp_path):
    drawn = [
        ids(con, training_samples(con, tables, Recipe(base_model="m", samples=n, held_out=0), tmp_path / "out.parquet").path)
        for n in (12, 24)
    ]
    assert set(drawn[0]) < set(drawn[1])


def test_held_out_users_are_not_among_the_samples_that_a_recipe_counts(con, tables, tmp_path):
    data = training_samples(con, tables, Recipe(base_model="m", samples=20, held_out=0.3), tmp_path / "out.parquet")
    assert data.rows == 20 and data.held_out_rows > 0


def test_fewer_samples_than_a_recipe_asks_for_are_no_training(con, tables, tmp_path):
    with pytest.raises(
        TrainingDataError, match=r"asks for 46 samples and there are 45 to train on \(.*social_qa 30\); lower `samples`"
    ):
        training_samples(con, tables, Recipe(base_model="m", samples=46, held_out=0), tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task_weights": {"social_qa": 2}}, "weights have no effect without `samples`"),
        (
            {"samples": 9, "tasks": ["item_selection"], "task_weights": {"social_qa": 2}},
            "the weight of `social_qa` has no effect",
        ),
        ({"samples": 9, "sources": ["reddit"], "source_weights": {"amazon": 2}}, "the weight of `amazon` has no effect"),
        ({"samples": 9, "objective": "raw_continuation", "task_weights": {"social_qa": 2}}, "`task_weights` has no effect with"),
        ({"max_tokens": 9, "hyperparameters": {"epochs": 1.5}}, "make `epochs` a whole number"),
    ],
)
def test_settings_of_a_draw_without_effect_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        Recipe(base_model="m", **settings)


def test_held_out_users_take_nothing_from_the_shares_of_a_mix(con, tables, tmp_path):
    recipe = Recipe(base_model="m", mix=[sharegpt(tmp_path / f"{name}.jsonl", 40) for name in ("talk", "orca")], held_out=0.3)
    data = training_samples(con, tables, recipe, tmp_path / "out.parquet")
    wanted = {"humanllm": 0.5, "talk": 0.25, "orca": 0.25}
    assert data.held_out_rows > 5 and data.shares() == pytest.approx(wanted, abs=1 / data.rows)
