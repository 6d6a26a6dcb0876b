"""What of held-out texts stands in training samples: what counts, what does not, and how much is enough."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest

from humanllm_assets.sql import arrow_schema
from humanllm_assets.tables import BENCHMARK_ITEMS, SAMPLES
from humanllm_assets.tasks.contamination import HELD_OUT_QUERY, OVERLAPS_QUERY, SUMMARY_QUERY, measure_contamination
from humanllm_assets.tasks.rendering import render_fields
from resources.thresholds import Contamination

Row = dict[str, Any]
QA = "tasks/social_qa"


def words(seed: str, n: int) -> str:
    """`n` words that no other seed has."""
    return " ".join(f"{seed}{i}" for i in range(n))


def sample(
    sample_id: str, split: str, user: str, answer: str, source: str = "reddit", task: str = "social_qa", **fields: Any
) -> Row:
    fields = {"template": QA, "persona": None, "scenario": "A lane.", "question": "Why?", "words": 10} | fields
    turns = [{"from": "human", "value": render_fields(fields)}, {"from": "gpt", "value": answer}]
    return {
        "sample_id": sample_id,
        "task": task,
        "source": source,
        "split": split,
        "user_id": user,
        "conversations": orjson.dumps(turns).decode(),
        "answer": answer,
        "options": orjson.dumps(fields["options"]).decode() if "options" in fields else None,
        "fields": orjson.dumps(fields).decode() if split == "test" else None,
    }


def question(item_id: str, prompt: str, *options: str) -> Row:
    shown = [{"label": label, "text": text} for label, text in zip("ABCDEF", options, strict=False)]
    return {
        "item_id": item_id,
        "benchmark": "motives",
        "task": "behavior",
        "source": "Blog",
        "user_id": "motives/1",
        "prompt": prompt,
        "options": orjson.dumps(shown).decode(),
    }


def measure(samples: list[Row], questions: list[Row] | None = None, **limits: Any) -> dict[str, list[Row]]:
    with duckdb.connect() as con:
        for name, table, rows in (("samples", SAMPLES, samples), ("questions", BENCHMARK_ITEMS, questions or [])):
            schema = arrow_schema(table)
            con.register(f"given_{name}", pa.Table.from_pylist(rows, schema=schema))
            con.execute(f"create table {name} as from given_{name}")
        measure_contamination(con, "samples", "questions", Contamination(**limits))
        queries = {"summary": SUMMARY_QUERY, "held_out": HELD_OUT_QUERY, "overlaps": OVERLAPS_QUERY}
        return {
            name: con.sql(f"select * from ({query}) order by all").to_arrow_table().to_pylist() for name, query in queries.items()
        }


def test_a_text_of_a_test_user_in_a_training_prompt_leaks():
    persona = words("persona", 60)
    found = measure(
        [
            sample("train", "train", "reddit/a", words("x", 30), persona=persona),
            sample("test", "test", "reddit/b", words("y", 30), persona=persona),
        ]
    )
    assert [(r["item_id"], r["field"], r["share"], r["longest"], r["leaks"]) for r in found["held_out"]] == [
        ("test", "persona", 1.0, 60, True)
    ]
    assert [(r["sample_id"], r["user_id"], r["shared"], r["grams"]) for r in found["overlaps"]] == [("train", "reddit/a", 53, 53)]
    assert [(r["says"], r["leaking_share"]) for r in found["summary"]] == [("1 of 1 items of test social_qa", 1.0)]


@pytest.mark.parametrize(("common", "shared"), [(14, []), (15, [8]), (16, [9])])
def test_as_many_shared_n_grams_as_the_profile_says_are_an_overlap_and_fewer_are_chance(common: int, shared: list[int]):
    held_out, trained = words("common", common) + " " + words("y", 40), words("x", 40) + " " + words("common", common)
    samples = [sample("train", "train", "reddit/a", trained), sample("test", "test", "reddit/b", held_out)]
    assert [row["shared"] for row in measure(samples, words=8, min_shared=8)["overlaps"]] == shared


def test_the_words_of_a_template_are_no_leak_however_few_samples_there_are():
    found = measure([sample("train", "train", "reddit/a", words("x", 30)), sample("test", "test", "reddit/b", words("y", 30))])
    assert found["overlaps"] == found["held_out"] == []
    assert [(r["items"], r["compared"], r["leaking"]) for r in found["summary"]] == [(1, 1, 0)]


def test_names_of_products_are_no_leak():
    title = words("title", 30)
    options = [{"id": "A", "text": title}]
    selection: Row = {
        "template": "tasks/item_selection",
        "history": [title],
        "options": options,
        "task": "item_selection",
        "source": "amazon",
    }
    review: Row = {"template": "tasks/writing_by_topic", "history": [], "style": None, "kind": "review", "item": title, "topic": "a day", "source": "amazon"}  # fmt: skip
    bought = [sample(f"s-{split}", split, f"amazon/{split}", "A", **selection) for split in ("train", "test")]
    reviews = [sample(f"r-{s}", s, f"amazon/{s}", words(s, 30), task="writing_imitation", **review) for s in ("train", "test")]
    found = measure([*bought, *reviews])
    assert found["overlaps"] == []
    posts = [
        sample(
            f"p-{s}",
            s,
            f"reddit/{s}",
            words(s, 30),
            task="writing_imitation",
            **(review | {"source": "reddit", "topic": title, "item": None}),
        )
        for s in ("train", "test")
    ]
    assert [r["field"] for r in measure(posts)["held_out"]] == ["topic"]  # of a post it is the person's own


@pytest.mark.parametrize(("every", "leaks"), [(14, True), (4, False)])
def test_a_copy_with_some_words_changed_is_a_near_duplicate(every, leaks):
    text = words("w", 140).split()
    changed = " ".join("other" + w if i % every == 0 else w for i, w in enumerate(text))
    found = measure([sample("train", "train", "reddit/a", changed), sample("test", "test", "reddit/b", " ".join(text))])
    assert any(r["leaks"] for r in found["held_out"]) == leaks


def test_a_long_quotation_in_a_longer_text_leaks_and_a_short_one_does_not():
    def found(quoted: int) -> list[Row]:
        quotation = words("q", quoted)
        held_out = sample("test", "test", "reddit/b", f"{words('y', 300)} {quotation} {words('z', 300)}")
        return measure([sample("train", "train", "reddit/a", f"{words('x', 50)} {quotation}"), held_out])["held_out"]

    assert [(r["longest"], r["leaks"]) for r in found(40)] == [(40, True)]
    assert [(r["longest"], r["leaks"]) for r in found(39)] == [(39, False)]
    assert found(14) == []  # seven n-grams: chance


def test_a_phrase_of_many_users_does_not_count_and_the_text_of_one_with_many_samples_does():
    phrase = words("stock", 30)
    held_out = sample("test", "test", "reddit/t", phrase)
    many_users = [sample(f"s{i}", "train", f"reddit/{i}", phrase) for i in range(21)]
    assert measure([held_out, *many_users])["overlaps"] == []
    one_user = [sample(f"s{i}", "train", "reddit/1", phrase) for i in range(21)]
    assert len(measure([held_out, *one_user])["overlaps"]) == 21


def test_public_questions_count_once_whatever_the_order_of_their_options():
    story, option = words("story", 40), words("option", 30)
    asks = [question("motives:1#order0", story, option, "no"), question("motives:1#order1", story, "no", option)]
    train = sample("train", "train", "reddit/a", words("x", 20), scenario=story)
    test = sample("test", "test", "reddit/b", option)
    found = measure([train, test], asks)
    assert [(r["item_id"], r["field"], r["leaks"]) for r in found["held_out"]] == [("motives:1", "prompt", True)]
    assert {(r["sample_id"], r["split"], r["leaks"]) for r in found["overlaps"]} == {
        ("test", "test", False),
        ("train", "train", True),
    }
    assert [r["says"] for r in found["summary"]] == ["0 of 1 items of test social_qa", "1 of 1 items of motives behavior"]


def test_chinese_is_compared_by_character():
    story = "小明把钥匙放在抽屉里然后离开了房间小红走进来把钥匙拿到了厨房的桌子上"
    found = measure(
        [sample("train", "train", "reddit/a", f"Tell me: {story}")], [question("motives:1#order0", story, "厨房", "抽屉")]
    )
    assert [(r["words"], r["share"]) for r in found["held_out"]] == [(len(story), 1.0)]


def test_what_is_too_short_to_compare_is_counted_as_such():
    found = measure([sample("test", "test", "reddit/b", words("y", 14))])
    assert [(r["items"], r["compared"]) for r in found["summary"]] == [(1, 0)]


def test_neither_the_order_of_rows_nor_threads_change_the_tables():
    rows = [
        sample(f"t{i}", "train", f"reddit/{i % 5}", words(f"p{i % 7}", 40), persona=words(f"q{i % 3}", 50)) for i in range(40)
    ]
    rows += [sample(f"h{i}", "test", f"twitter/{i}", words(f"p{i}", 40), persona=words(f"q{i}", 50)) for i in range(10)]
    before = measure(rows)
    random.Random(1).shuffle(rows)
    assert measure(rows) == before and before["overlaps"]
