"""Where a record or a user went: every row, item, score, sample, training position and benchmark answer, and where it was left out.

A row belongs to a record when one of its id columns (`indexes.ID_COLUMNS`) holds the record's id, or the id of a row that belongs
to the record and lies in a snapshot which the row's own snapshot was made from. So the answer follows the references between
snapshots: a sample id that two versions of a data set share is not taken for one sample. A row that names the record as its
context (a reply) and shows its text belongs to it; one that only names it does not, and what is made from it is told apart (`via`).
Nothing is known here about single assets or tables.

`follow` is the one walk: audits ask it for an answer, a takedown for what to delete (`removal/takedown.py`).

By default the published snapshots are searched with everything that they were made from, because a checkpoint may have been
trained on a data set that has been replaced since. What belongs here: finding. What does not: showing (`trace_view.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from humanllm_assets.lineage.audit.chain import Chain, collect_ancestors
from humanllm_assets.lineage.audit.indexes import ID_COLUMNS, INDEX_FROM_ROWS, ensure_index, list_id_expressions, read_columns
from humanllm_assets.lineage.inventory import read_publications, read_retained
from humanllm_assets.lineage.manifests import Damage, Key, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.sql import literal, parquet
from humanllm_assets.tables import TEXTS
from resources.llm.journal import Journal

_OWN = ("record_id", "item_id", "sample_id")  # a table whose first column is one of these holds the rows that it names
_AT_ONCE = 1000  # ids in one condition
_FILES_AT_ONCE = 50  # files in one query


class Hit(NamedTuple):
    """One row that was reached, without its texts. `via`: `own`, or `context`: a reply to the record without its text, or derived from
    one."""

    key: Key
    table: str
    row: dict[str, Any]
    via: str


@dataclass
class Trace:
    """What became of a record or a user. `models`: snapshots made from a checkpoint that consumed a sample of it."""

    subject: str
    hits: list[Hit] = field(default_factory=list)
    models: list[Key] = field(default_factory=list)
    raw: list[Key] = field(default_factory=list)  # source snapshots of the slices that held it
    published: set[Key] = field(default_factory=set)
    damage: list[Damage] = field(default_factory=list)
    answers: int = 0  # in the journal, about the user


class Scope(NamedTuple):
    """The snapshots to search, the keys of the published ones, and pointers or manifests that cannot be read."""

    chain: Chain
    published: set[Key]
    damage: list[Damage]


def choose_scope(store: SnapshotStore, all_versions: bool) -> Scope:
    """What is published, with `all_versions` also every retained snapshot that passed, and all that they were made from."""
    publications = list(read_publications(store))
    published = [p.snapshot for p in publications if p.snapshot]
    found = list(read_retained(store)) if all_versions else []
    chain = collect_ancestors(store, [*published, *(s for s in found if isinstance(s, Snapshot) and s.manifest.passed)])
    damage = {p.damage for p in publications if p.damage} | {d for d in found if isinstance(d, Damage)}
    return Scope(chain, {s.key for s in published}, sorted({*damage, *chain.damage}))


def trace(store: SnapshotStore, record_id: str | None = None, user_id: str | None = None, all_versions: bool = False) -> Trace:
    """Follow a record, or a user with all records, through all snapshots of the scope."""
    chain, current, damage = choose_scope(store, all_versions)
    found = Trace(record_id or user_id or "", published=current, damage=damage)
    consumed: set[Key] = set()
    for same_row in follow(chain, found.subject, user_id, store.root):
        consumed |= {h.key for h in same_row if h.table == "consumed" and h.via == "own"}
        found.hits.append(max(same_row, key=lambda h: (h.via == "own", h.key in current)))
    found.models = _models(chain, consumed)
    found.raw = sorted({p for h in found.hits for p in chain.upstream(h.key) if p.asset.startswith("raw_")})
    if found.hits:
        user = user_id or next((str(h.row["user_id"]) for h in found.hits if h.row.get("user_id") and h.via == "own"), None)
        if user:
            journal = Journal(store.root, read_only=True)
            found.answers = journal.about(user) if user_id else journal.about(user, str(record_id))
            journal.close()
    return found


def follow(chain: Chain, subject: str, user_id: str | None, indexes: Path | None = None) -> Iterator[list[Hit]]:
    """Every row of the chain's snapshots that belongs to the subject, parents first; a row comes with one hit for every manifest of
    its snapshot through which it is reached.

    Args:
        subject: id of a record or user.
        user_id: the same, when it is a user, whose records are all followed.
        indexes: the data home, whose indexes and manifests are trusted to tell what large tables hold; None: every table is read.

    Raises:
        duckdb.Error: a table cannot be read.
    """
    start, known = {subject: "own"}, _Known()
    reached: dict[Key, dict[str, str]] = {}  # per snapshot: ids that lead into it, each with `own` or `context`
    with duckdb.connect() as con:
        if user_id:  # the ids of records mean the same everywhere: others may have answered them in tables of another source
            everywhere = {k: start for k in chain.nodes}
            hits = _search(con, indexes, list(chain.nodes.values()), everywhere, user_id, known, first_column="record_id")
            start = start | {str(h.row["record_id"]): "own" for h, *_ in hits}
        for level in sorted(set(chain.depth.values())):
            here = [chain.nodes[k] for k, depth in chain.depth.items() if depth == level]
            for s in here:
                reached[s.key] = _merged([start, *(reached[p] for p in chain.upstream(s.key))])
            for same_row in list(_search(con, indexes, here, reached, user_id, known)):
                for hit in same_row:
                    _pass_on(hit, reached[hit.key])
                yield same_row


def _pass_on(hit: Hit, ids: dict[str, str]) -> None:
    """Let rows of snapshots made from this one belong to the subject too when they name this row."""
    first = next(iter(hit.row))
    if first in _OWN:
        name = str(hit.row[first])
        ids[name] = "own" if "own" in (hit.via, ids.get(name)) else "context"


def _merged(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        for name, via in part.items():
            if found.get(name) != "own":
                found[name] = via
    return found


def _models(chain: Chain, checkpoints: set[Key]) -> list[Key]:
    """Snapshots that were made from these checkpoints, directly or not, in the order of the graph."""
    downstream = set(checkpoints)
    for key in sorted(chain.nodes, key=lambda k: chain.depth[k]):
        if downstream.intersection(chain.upstream(key)):
            downstream.add(key)
    return sorted(downstream - checkpoints, key=lambda k: (chain.depth[k], k))


# ---- searching -------------------------------------------------------------------------------------------------------


def _search(
    con: duckdb.DuckDBPyConnection,
    home: Path | None,
    snapshots: list[Snapshot],
    reached: Mapping[Key, Mapping[str, str]],
    user: str | None,
    known: _Known,
    first_column: str = "",
) -> Iterator[list[Hit]]:
    """Rows of these snapshots that hold an id which leads into them. Equal small tables are read by one query.

    A row comes once for every manifest of its snapshot through which it is reached: an equal result that was made from other data
    has a manifest of its own.

    Args:
        user: the user who is asked about; no other id can stand in a column `user_id`.
        known: rows that were read before; what is read is added.
        first_column: search only tables that begin with this column.
    """
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[Snapshot]] = {}
    for s in snapshots:
        for name, table in s.manifest.tables.items():
            if not table.rows or not s.path(name).is_file():
                continue
            columns = read_columns(s, name) if home else _describe(con, s.path(name))
            wanted = not first_column or next(iter(columns)) == first_column
            if wanted and list_id_expressions(name, columns):
                groups.setdefault((name, tuple(columns.items())), []).append(s)
    for (table, columns), group in groups.items():
        by_file: dict[str, list[Snapshot]] = {}
        for s in group:
            by_file.setdefault(str(s.path(table)), []).append(s)
        ids = {f: _merged(reached[s.key] for s in same) for f, same in by_file.items()}
        small = [f for f, same in by_file.items() if not home or same[0].manifest.tables[table].rows < INDEX_FROM_ROWS]
        large = {f: same[0] for f, same in by_file.items() if f not in small}
        places = _scan(con, small, table, dict(columns), _merged(ids[f] for f in small)) if small else set()
        if home and large:
            places |= _look_up(con, home, large, table, dict(columns), _merged(ids[f] for f in large), user)
        _fetch(con, places, [c for c, _ in columns], known)
        for place in sorted(places):
            row, shows = known.rows[place], place in known.showing
            keys = [s.key for s in by_file[place[0]]]
            if hits := [Hit(k, table, row, via) for k in keys if (via := _via(table, row, shows, reached[k]))]:
                yield hits


def _describe(con: duckdb.DuckDBPyConnection, file: Path) -> dict[str, str]:
    return dict(r[:2] for r in con.execute(f"describe select * from {parquet([file])}").fetchall())


def _via(table: str, row: Mapping[str, Any], shows: bool, ids: Mapping[str, str]) -> str | None:
    """How a row is reached, or None when no id of it leads here: the exact test behind every query. `shows`: the row holds the text
    of its context."""
    ways = set()
    for column in ID_COLUMNS:
        value = row.get(column)
        for one in value if isinstance(value, list) else [value]:
            way = ids.get(one) if isinstance(one, str) else None
            if way and (shows or column != "context_id"):
                ways.add(way)
            elif way == "own":
                ways.add("context")
    if table == "failures" and (way := ids.get(row["item_id"].split("#")[0])):
        ways.add(way)
    return "own" if "own" in ways else "context" if ways else None


Places = set[tuple[str, int]]  # file, row in it from 0


@dataclass
class _Known:
    """Rows that were read, without their texts, and which of them show the text of their context."""

    rows: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    showing: Places = field(default_factory=set)


def _listed(ids: Iterable[object]) -> str:
    return ", ".join(map(literal, ids))


def _batches(ids: Iterable[Any]) -> Iterator[list[Any]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def _source(paths: Iterable[str | Path]) -> str:
    return parquet(paths, "filename", "file_row_number")


def _scan(
    con: duckdb.DuckDBPyConnection, paths: Iterable[str], table: str, columns: Mapping[str, str], ids: Mapping[str, str]
) -> Places:
    """Find rows by reading every id column whole, one by one: right for small tables."""
    found: Places = set()
    for batch in _batches(ids):
        listed = _listed(batch)
        for expression in list_id_expressions(table, columns):
            is_list = columns.get(expression, "").endswith("[]")
            condition = f"list_has_any({expression}, [{listed}])" if is_list else f"{expression} in ({listed})"
            found.update(con.execute(f"select filename, file_row_number from {_source(paths)} where {condition}").fetchall())
    return found


def _look_up(
    con: duckdb.DuckDBPyConnection,
    home: Path,
    tables: Mapping[str, Snapshot],
    table: str,
    columns: Mapping[str, str],
    ids: Mapping[str, str],
    user: str | None,
) -> Places:
    """Find rows of large tables by their indexes, and by their first column, by which they are sorted."""
    first = next(iter(columns))
    indexed = {file: ensure_index(con, home, s, table) for file, s in tables.items()}
    if list_id_expressions(table, columns, leave_out=first) and None in indexed.values():
        return _scan(con, tables, table, columns, ids)  # the data home cannot be written
    by_index = {str(index): file for file, index in indexed.items() if index}
    found: Places = set()
    of_users_alone = list_id_expressions(table, columns, leave_out=first) == ["user_id"]
    in_index = {user} & ids.keys() if of_users_alone else ids.keys()
    for batch in _batches(ids):
        if first in ID_COLUMNS:
            query = f"select filename, file_row_number from {_source(tables)} where {first} in ({_listed(batch)})"
            found.update(con.execute(query).fetchall())
    for batch in _batches(in_index):
        if by_index:
            keys = ", ".join(str(k) for (k,) in con.execute(f"select md5_number_lower(unnest([{_listed(batch)}]))").fetchall())
            query = f"select filename, row from {_source(by_index)} where key in ({keys})"
            found.update((by_index[index], row) for index, row in con.execute(query).fetchall())
    return found


def _fetch(con: duckdb.DuckDBPyConnection, places: Places, columns: list[str], known: _Known) -> None:
    """Add the rows at these places to `known`, reading none twice."""
    numbers: dict[str, list[int]] = {}
    for file, number in sorted(places - known.rows.keys()):
        numbers.setdefault(file, []).append(number)
    names = [c for c in columns if c not in TEXTS]
    texts = ", ".join(c for c in ("context_title", "context_text") if c in columns)
    listed = ", ".join([f"coalesce({texts}, null) is not null" if texts else "false", *(f'"{c}"' for c in names)])
    parts = [
        f"select filename, file_row_number, {listed} from {_source([file])} where file_row_number in ({', '.join(map(str, batch))})"
        for file, mine in numbers.items()
        for batch in _batches(mine)
    ]
    for start in range(0, len(parts), _FILES_AT_ONCE):
        cursor = con.execute(" union all ".join(parts[start : start + _FILES_AT_ONCE]))
        for file, number, shows, *values in cursor.fetchall():
            known.rows[file, number] = dict(zip(names, values, strict=True))
            known.showing |= {(file, number)} if shows else set()


# ---- when nothing is found -------------------------------------------------------------------------------------------


def explain_nothing(store: SnapshotStore, kind: str, subject: str, all_versions: bool) -> str:
    """One sentence: a subject is nowhere; with ids that look like it, when some are found quickly.

    Args:
        kind: record or user.
    """
    where = "any retained snapshot" if all_versions else "any published snapshot or what they were made from"
    near = _find_near(store, subject, kind)
    hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    more = "" if all_versions or near else "; older versions: --all-versions"
    return f"no row about the {kind} `{subject}` is in {where}{hint}{more}"


def _find_near(store: SnapshotStore, subject: str, kind: str) -> list[str]:
    published = [p.snapshot for p in read_publications(store) if p.snapshot and "records" in p.snapshot.manifest.tables]
    tables = [file for s in published if (file := s.path("records")).is_file()]
    if not tables:
        return []
    source = parquet(tables, "union_by_name")
    with duckdb.connect() as con:
        if kind == "user":
            alike = "jaro_winkler_similarity(lower(split_part(user_id, '/', 2)), lower(?))"
            query = f"select user_id from {source} group by 1 having {alike} > 0.85 order by {alike} desc, 1 limit 3"
            return [r[0] for r in con.execute(query, [subject.split("/")[-1]] * 2).fetchall()]
        start, of_other_source = subject[: max(4, len(subject) - 3)], f":{subject.split(':')[-1]}"
        query = f"select distinct record_id from {source} where"
        found = con.execute(f"{query} ends_with(record_id, ?)", [of_other_source]).fetchall() or (
            con.execute(f"{query} record_id >= ? and record_id < ? limit 200", [start, start + chr(0x10FFFF)]).fetchall()
        )
    return difflib.get_close_matches(subject, [r[0] for r in found], 3, cutoff=0.4)
