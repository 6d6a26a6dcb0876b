"""The task data sets (T1-T7): rows of `samples`, rendered from a plan, in ShareGPT form.

A sample is one human turn and one answer, without system message. `fields` of a test sample keeps what its prompt was rendered
from, so that a benchmark can ask the same question without the person, or with another one.

What belongs here: texts of kept rows, cuts, negatives, rendering. Which samples exist is decided in `plans.py`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from humanllm_assets.partitions import parse_pair
from humanllm_assets.tasks.plans import make_plan
from humanllm_assets.tasks.split import stable_int, stable_shuffle, stable_unit
from resources.sources import SOURCES
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

    from resources.prompting.prompts import Prompt

Row = dict[str, Any]
LABELS = string.ascii_uppercase
COMMENT_WORDS = 300  # an earlier comment is cut here
_FEW = 50  # a pool smaller than this many times the wanted number is ordered as a whole instead of drawn from


class Counts(NamedTuple):
    """How many samples were possible, kept and left out; considered = kept + sum of dropped."""

    considered: int
    kept: int
    dropped: dict[str, int]


@dataclass(frozen=True)
class Rendered:
    """One rendered task: the template and its fields, the wanted answer, the candidates if any."""

    template: str
    fields: dict[str, Any]
    answer: str
    options: list[Row] | None = None


def plan_samples(con: duckdb.DuckDBPyConnection, pair: str, limits: Tasks) -> Counts:
    """Decide which samples of one pair exist; must run before `build_samples` and `dropped_samples`.

    Args:
        con: holds the tables that `plans.TABLES_READ` names for the task. Temporary tables `task_*` are replaced.
        pair: key such as `item_selection-amazon`.
        limits: thresholds `tasks` of the profile.
    """
    make_plan(con, pair, limits)
    rows = con.execute("select reason, count(*) from task_plan group by reason order by reason").fetchall()
    dropped = {reason: n for reason, n in rows if reason is not None}
    kept = sum(n for reason, n in rows if reason is None)
    return Counts(kept + sum(dropped.values()), kept, dropped)


def dropped_samples(con: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    """Rows sample_id, user_id, record_id, reason of the planned pair's samples that were left out."""
    yield from _stream(
        con, "select sample_id, user_id, record_id, reason from task_plan where reason is not null order by sample_id"
    )


def build_samples(con: duckdb.DuckDBPyConnection, pair: str, limits: Tasks) -> Iterator[Row]:
    """Rows of `samples` for the planned pair, ordered by sample_id, a few at a time.

    The connection is busy until the iterator is exhausted. Columns: those of SAMPLES in `humanllm_assets/tables.py`, and `fields`
    (VARCHAR, JSON: template name and values that the human turn was rendered from; null in the training split).
    """
    task, source = parse_pair(pair)
    render, detail = _RENDERERS[task]
    pools = _pools(con) if task == "item_selection" else {}
    for row in _stream(con, _detail_sql(task, detail)):
        rendered = render({**row, "source": source, "pools": pools, "candidates": limits.candidates})
        question = _question(rendered)
        records = {row["record_id"], *row["history_ids"], *(row["person_records"] or ()), *(row["item_records"] or ())} - {None}
        yield {
            "sample_id": row["sample_id"],
            "task": task,
            "source": source,
            "subtask": row["subtask"],
            "split": row["split"],
            "user_id": row["user_id"],
            "conversations": _json([{"from": "human", "value": question}, {"from": "gpt", "value": rendered.answer}]),
            "target_record_id": row["record_id"],
            "record_ids": sorted(records),
            "item_ids": sorted({row["item_id"], row["person_id"]} - {None}),
            "answer": rendered.answer,
            "options": None if rendered.options is None else _json(rendered.options),
            "created_at": row["created_at"],
            "fields": _json({"template": rendered.template, **rendered.fields}) if row["split"] == "test" else None,
        }


def render_fields(fields: Mapping[str, Any]) -> str:
    """The human turn of the `fields` of a sample, which may have been changed."""
    values = dict(fields)
    return template(values.pop("template")).render(**values)[-1][1]


@cache
def template(name: str) -> Prompt:
    """The prompt file of that name, loaded once."""
    from resources.prompting.prompts import Prompt

    return Prompt.load(name)


def wanted_words(text: str) -> int:
    """The length that a prompt asks for: the words of the true text rounded to 10, at least 10."""
    return max(10, (len(text.split()) + 5) // 10 * 10)


def cut_words(text: str, limit: int) -> str:
    """The first `limit` words, with the text's own white space; an ellipsis shows the cut."""
    words = list(re.finditer(r"\S+", text))
    return text if len(words) <= limit else text[: words[limit - 1].end()] + " …"


def split_text(text: str, seed: str, low: float = 0.3, high: float = 0.7) -> tuple[str, str]:
    """Beginning and rest of a text, cut between two words at a share of its words in [low, high] that the seed decides."""
    words = list(re.finditer(r"\S+", text))
    if len(words) < 2:
        return text, ""
    n = min(len(words) - 1, max(1, round(len(words) * (low + (high - low) * stable_unit("cut", seed)))))
    return text[: words[n - 1].end()].strip(), text[words[n].start() :].strip()


class Candidate(NamedTuple):
    """An item of the catalogue. popularity: users of the training split who bought it."""

    item_id: str
    title: str
    title_key: str
    popularity: int


def draw_negatives(pool: Sequence[Candidate], banned: set[str], count: int, seed: str) -> list[Candidate]:
    """`count` different items of the pool, at random by the seed, none with a banned title key.

    Raises:
        ValueError: the pool is too small; the plan drops such samples as `too_few_candidates`.
    """
    if len(pool) <= _FEW * count:
        chosen = stable_shuffle((c for c in pool if c.title_key not in banned), "negatives", seed, key=lambda c: c.item_id)[
            :count
        ]
        if len(chosen) < count:
            raise ValueError(f"{seed} needs {count} other items, its category has {len(chosen)}")
        return chosen
    taken: dict[str, Candidate] = {}
    draw = 0
    while len(taken) < count:
        item = pool[stable_int("negatives", seed, draw) % len(pool)]
        draw += 1
        if item.title_key not in banned:
            taken.setdefault(item.title_key, item)
    return list(taken.values())


# ---- rendering, one function per task --------------------------------------------------------------------------------


def _profile_generation(row: Row) -> Rendered:
    if row["subtask"] == "profile":
        answer = row["item_text"].strip()
        return Rendered("tasks/profile_generation", {"persona": row["person_text"], "words": wanted_words(answer)}, answer)
    beginning, rest = split_text(row["story"], row["sample_id"])
    fields = {"persona": row["person_text"], "summary": row["summary"], "beginning": beginning, "words": wanted_words(rest)}
    return Rendered("tasks/story_continuation", fields, rest)


def _scenario_generation(row: Row) -> Rendered:
    answer = row["plots"].strip()
    fields = {"background": row["background"], "characters": row["characters"], "words": wanted_words(answer)}
    return Rendered("tasks/scenario_generation", fields, answer)


def _social_qa(row: Row) -> Rendered:
    answer = row["answer"].strip()
    fields = {
        "persona": row["person_text"],
        "scenario": row["scenario"],
        "question": row["question"],
        "words": wanted_words(answer),
    }
    return Rendered("tasks/social_qa", fields, answer)


def _writing_imitation(row: Row) -> Rendered:
    kind = SOURCES[row["source"]].text_kind
    person = {"history": [h["text"] for h in row["history"]], "style": row["person_text"], "kind": kind}
    if row["subtask"] == "continuation":
        beginning, rest = split_text(row["text"], row["sample_id"])
        return Rendered("tasks/writing_continuation", {**person, "beginning": beginning, "words": wanted_words(rest)}, rest)
    label, topic = f"The topic of the {kind}, in the person's words", row["topic"]
    if row["source"] == "amazon":
        label = "The product" if row["rating"] is None else f"The person gives {row['rating']:g} of 5 stars to this product"
    elif not (row["title"] or "").strip():
        label = f"The {kind} opens with these words, and goes on from there"
    answer = row["body"].strip()
    return Rendered(
        "tasks/writing_by_topic", {**person, "topic": topic, "topic_label": label, "words": wanted_words(answer)}, answer
    )


def _personalized_commenting(row: Row) -> Rendered:
    answer = row["text"].strip()
    fields = {
        "persona": row["person_text"],
        "history": [cut_words(h["text"], COMMENT_WORDS) for h in row["history"]],
        "post": "\n\n".join(t.strip() for t in (row["context_title"], row["context_text"]) if t and t.strip()),
        "words": wanted_words(answer),
    }
    return Rendered("tasks/personalized_commenting", fields, answer)


def _item_selection(row: Row) -> Rendered:
    pool, sample_id = row["pools"][row["slice"]], row["sample_id"]
    bought = pool[row["title_key"]]
    banned = {*row["bought_keys"], bought.title_key}
    negatives = draw_negatives(pool.items, banned, row["candidates"] - 1, sample_id)
    order = stable_shuffle([bought, *negatives], "order", sample_id, key=lambda c: c.item_id)
    options = [
        {"id": label, "text": " ".join(c.title.split()), "item_id": c.item_id, "popularity": c.popularity}
        for label, c in zip(LABELS, order, strict=False)
    ]
    titles = [" ".join(h["title"].split()) for h in row["history"]]
    fields = {"persona": row["person_text"], "history": titles, "options": options}
    return Rendered("tasks/item_selection", fields, LABELS[order.index(bought)], options)


@dataclass(frozen=True)
class _Pool:
    """The candidates of one category, by item id and by title key."""

    items: list[Candidate]
    by_key: dict[str, Candidate]

    def __getitem__(self, title_key: str) -> Candidate:
        return self.by_key[title_key]


def _pools(con: duckdb.DuckDBPyConnection) -> dict[str, _Pool]:
    lists: dict[str, list[Candidate]] = {}
    sql = "select slice, item_id, title, title_key, popularity from task_catalogue order by slice, item_id"
    for row in _stream(con, sql):
        lists.setdefault(row.pop("slice"), []).append(Candidate(**row))
    return {slice_: _Pool(items, {c.title_key: c for c in items}) for slice_, items in lists.items()}


class _Detail(NamedTuple):
    """What a task's renderer needs beside the plan's columns. records: the table of target and history."""

    columns: str = "null as item_records"
    joins: str = ""
    records: str | None = None
    history: str = "text"


_TARGET = "r.title, r.text, r.context_title, r.context_text, r.rating, null as item_records"
_RENDERERS: dict[str, tuple[Callable[[Row], Rendered], _Detail]] = {
    "profile_generation": (
        _profile_generation,
        _Detail(
            "i.text as item_text, i.record_ids as item_records, s.summary, s.story",
            "left join profiles i on i.item_id = p.item_id left join task_stories s on s.item_id = p.item_id and s.part = p.part",
        ),
    ),
    "scenario_generation": (
        _scenario_generation,
        _Detail("i.background, i.characters, i.plots, null as item_records", "left join scenarios i on i.item_id = p.item_id"),
    ),
    "social_qa": (
        _social_qa,
        _Detail("i.scenario, i.question, i.answer, null as item_records", "left join social_qa i on i.item_id = p.item_id"),
    ),
    "writing_imitation": (
        _writing_imitation,
        _Detail(
            f"{_TARGET}, topic_of(r.source, r.title, r.context_title, r.text) as topic, "
            "case when topic is null then r.text else body_of(topic, r.text) end as body",
            records="records",
        ),
    ),
    "personalized_commenting": (_personalized_commenting, _Detail(_TARGET, records="comments")),
    "item_selection": (
        _item_selection,
        _Detail(
            f"{_TARGET}, title_key(c.title) as title_key, coalesce(b.title_keys, []) as bought_keys",
            "join catalogue c on c.item_id = r.context_id and c.slice = p.slice "
            "left join task_bought b on b.user_id = p.user_id and b.slice = p.slice",
            records="records",
            history="context_title",
        ),
    ),
}


def _detail_sql(task: str, detail: _Detail) -> str:
    person = "u.text as person_text, u.record_ids as person_records"
    join_person = "left join profiles u on u.item_id = p.person_id"
    if task == "scenario_generation":  # the one task without a person: its connection may lack `profiles`
        person, join_person = "null as person_text, null as person_records", ""
    history, columns = "[] as history", detail.columns
    with_history, join_history, join_target = "", "", ""
    if detail.records:
        field = "title" if detail.history == "context_title" else "text"
        with_history = f"""with past as (
            select sample_id, list(struct_pack({field} := h.{detail.history}) order by h.created_at, h.record_id) as history
            from (select sample_id, unnest(history_ids) as record_id from task_plan where reason is null) x
            join {detail.records} h on h.record_id = x.record_id group by sample_id)"""
        history, join_history = "coalesce(past.history, []) as history", "left join past on past.sample_id = p.sample_id"
        join_target = f"join {detail.records} r on r.record_id = p.record_id"
    return f"""{with_history}
        select p.*, {person}, {history}, {columns}
        from task_plan p {join_target} {join_person} {join_history} {detail.joins}
        where p.reason is null order by p.sample_id"""


def _stream(con: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Row]:
    cursor = con.execute(sql)
    names = [d[0] for d in cursor.description or ()]
    while rows := cursor.fetchmany(500):
        for values in rows:
            yield dict(zip(names, values, strict=True))


def _question(rendered: Rendered) -> str:
    return render_fields({"template": rendered.template, **rendered.fields})


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
