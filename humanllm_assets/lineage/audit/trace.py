"""Where a record or a user went: every row, item, score, sample, training position and benchmark answer, and where it was left out.

A row belongs to a record when one of its id columns (`derived.ID_COLUMNS`) holds the record's id, or the id of a row that belongs
to the record and lies in a snapshot which the row's own snapshot was made from. So the answer follows the references between
snapshots: a sample id that two versions of a data set share is not taken for one sample. A row that names the record as its context
holds the record's text too; what is made from such a row is told apart (`via`). Nothing is known here about single assets; what
each row says is read from its columns.

By default the published snapshots are searched with everything that they were made from, because a checkpoint may have been
trained on a data set that has been replaced since.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from humanllm_assets.lineage.audit.chain import AuditError, Chain, with_ancestors
from humanllm_assets.lineage.audit.indexes import ID_COLUMNS, INDEX_FROM_ROWS, columns_of, files, id_expressions, index_of
from humanllm_assets.lineage.inventory import Damage, Key, key_of, published, retained
from humanllm_assets.lineage.snapshots import Snapshot, SnapshotStore
from humanllm_assets.sql import literal
from resources.journal import Journal
from resources.sources import SOURCES

Echo = Callable[[str], None]
WIDTH = 80
# Texts are left out: an audit says which rows there are, and reading their texts would take most of its time.
TEXTS = frozenset({
    "text", "title", "context_title", "context_text", "raw", "background", "characters", "plots", "scenario", "question", "answer",
    "conversations", "options", "fields", "reply",
})  # fmt: skip
_OWN = ("record_id", "item_id", "sample_id")  # a table whose first column is one of these holds the rows that it names
_AT_ONCE = 1000  # ids in one condition
_FILES_AT_ONCE = 50  # files in one query


class Hit(NamedTuple):
    """One row that was reached, without its texts. `via`: `own`, or `context` for what was made from others' answers to the record."""

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


def scope(store: SnapshotStore, all_versions: bool) -> tuple[Chain, set[Key], list[Damage]]:
    """The snapshots to search, with the keys of the published ones, and pointers or manifests that cannot be read."""
    damage, current = [], []
    for found, _ in published(store):
        damage.append(found) if isinstance(found, Damage) else current.append(found)
    roots = list(current)
    if all_versions:
        for found in retained(store):
            damage.append(found) if isinstance(found, Damage) else roots.append(found)
    chain = with_ancestors(store, roots)
    return chain, {key_of(s) for s in current}, sorted({*damage, *chain.damage})


def trace(store: SnapshotStore, record_id: str | None = None, user_id: str | None = None, all_versions: bool = False) -> Trace:
    """Follow a record, or a user with all records, through all snapshots of the scope."""
    chain, current, damage = scope(store, all_versions)
    found = Trace(record_id or user_id or "", published=current, damage=damage)
    start, known = {found.subject: "own"}, Rows()
    consumed: set[Key] = set()
    reached: dict[Key, dict[str, str]] = {}  # per snapshot: ids that lead into it, each with `own` or `context`
    with duckdb.connect() as con:
        if user_id:  # the ids of records mean the same everywhere: others may have answered them in tables of another source
            everywhere = {k: start for k in chain.nodes}
            hits = _search(con, store.root, list(chain.nodes.values()), everywhere, user_id, known, first_column="record_id")
            start = start | {str(h.row["record_id"]): "own" for h, *_ in hits}
        for level in sorted(set(chain.depth.values())):
            here = [chain.nodes[k] for k, depth in chain.depth.items() if depth == level]
            for s in here:
                reached[key_of(s)] = _merged([start, *(reached[p] for p in chain.upstream(key_of(s)))])
            for same_row in list(_search(con, store.root, here, reached, user_id, known)):
                for hit in same_row:
                    _pass_on(hit, reached[hit.key])
                    consumed |= {hit.key} if hit.table == "consumed" else set()
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


def _pass_on(hit: Hit, ids: dict[str, str]) -> None:
    """Rows of snapshots made from this one belong to the subject too when they name this row."""
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
    below = set(checkpoints)
    for key in sorted(chain.nodes, key=lambda k: chain.depth[k]):
        if below.intersection(chain.upstream(key)):
            below.add(key)
    return sorted(below - checkpoints, key=lambda k: (chain.depth[k], k))


# ---- searching -------------------------------------------------------------------------------------------------------


def _search(
    con: duckdb.DuckDBPyConnection,
    home: Path,
    snapshots: list[Snapshot],
    reached: Mapping[Key, Mapping[str, str]],
    user: str | None,
    known: Rows,
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
            columns = columns_of(s, name)
            wanted = not first_column or next(iter(columns)) == first_column
            if wanted and table.rows and id_expressions(name, columns) and s.path(name).is_file():
                groups.setdefault((name, tuple(columns.items())), []).append(s)
    for (table, columns), group in groups.items():
        by_file: dict[str, list[Snapshot]] = {}
        for s in group:
            by_file.setdefault(str(s.path(table)), []).append(s)
        ids = {f: _merged(reached[key_of(s)] for s in same) for f, same in by_file.items()}
        small = [f for f, same in by_file.items() if same[0].manifest.tables[table].rows < INDEX_FROM_ROWS]
        large = {f: same[0] for f, same in by_file.items() if f not in small}
        places = _scan(con, small, table, dict(columns), _merged(ids[f] for f in small)) if small else set()
        if large:
            places |= _look_up(con, home, large, table, dict(columns), _merged(ids[f] for f in large), user)
        _fetch(con, places, [c for c, _ in columns if c not in TEXTS], known)
        for file, number in sorted(places):
            row = known[file, number]
            keys = [key_of(s) for s in by_file[file]]
            if hits := [Hit(k, table, row, via) for k in keys if (via := _via(table, row, reached[k]))]:
                yield hits


def _via(table: str, row: Mapping[str, Any], ids: Mapping[str, str]) -> str | None:
    """How a row is reached, or None when no id of it leads here: the exact test behind every query."""
    ways = set()
    for column in ID_COLUMNS:
        value = row.get(column)
        for one in value if isinstance(value, list) else [value]:
            way = ids.get(one) if isinstance(one, str) else None
            if way and column != "context_id":
                ways.add(way)
            elif way == "own":
                ways.add("context")
    if table == "failures" and (way := ids.get(row["item_id"].split("#")[0])):
        ways.add(way)
    return "own" if "own" in ways else "context" if ways else None


Places = set[tuple[str, int]]  # file, row in it from 0
Rows = dict[tuple[str, int], dict[str, Any]]


def _listed(ids: Iterable[object]) -> str:
    return ", ".join(map(literal, ids))


def _batches(ids: Iterable[Any]) -> Iterator[list[Any]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def _source(paths: Iterable[str | Path]) -> str:
    return f"read_parquet({files([Path(p) for p in paths])}, filename = true, file_row_number = true)"


def _scan(
    con: duckdb.DuckDBPyConnection, paths: Iterable[str], table: str, columns: Mapping[str, str], ids: Mapping[str, str]
) -> Places:
    """Find rows by reading every id column whole, one by one: right for small tables."""
    found: Places = set()
    for batch in _batches(ids):
        listed = _listed(batch)
        for expression in id_expressions(table, columns):
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
    indexed = {file: index_of(con, home, s, table) for file, s in tables.items()}
    if id_expressions(table, columns, leave_out=first) and None in indexed.values():
        return _scan(con, tables, table, columns, ids)  # the data home cannot be written
    by_index = {str(index): file for file, index in indexed.items() if index}
    found: Places = set()
    of_users_alone = id_expressions(table, columns, leave_out=first) == ["user_id"]
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


def _fetch(con: duckdb.DuckDBPyConnection, places: Places, columns: list[str], known: Rows) -> None:
    """Add the rows at these places to `known`, reading none twice."""
    numbers: dict[str, list[int]] = {}
    for file, number in sorted(places - known.keys()):
        numbers.setdefault(file, []).append(number)
    listed = ", ".join(f'"{c}"' for c in columns)
    parts = [
        f"select filename, file_row_number, {listed} from {_source([file])} where file_row_number in ({', '.join(map(str, batch))})"
        for file, mine in numbers.items()
        for batch in _batches(mine)
    ]
    for start in range(0, len(parts), _FILES_AT_ONCE):
        cursor = con.execute(" union all ".join(parts[start : start + _FILES_AT_ONCE]))
        for file, number, *values in cursor.fetchall():
            known[file, number] = dict(zip(columns, values, strict=True))


# ---- answering -------------------------------------------------------------------------------------------------------


def audit_record(home: Path, record_id: str, all_versions: bool, as_json: bool, echo: Echo) -> int:
    """Answer `humanllm audit record`; returns the exit code.

    Raises:
        AuditError: no row of any snapshot knows the record.
    """
    store = SnapshotStore(home)
    found = trace(store, record_id=record_id, all_versions=all_versions)
    if not found.hits:
        raise AuditError(_nowhere(store, "record", record_id, "record_id", all_versions))
    return _answer(store, "record", found, as_json, echo)


def audit_user(home: Path, user_id: str, all_versions: bool, as_json: bool, echo: Echo) -> int:
    """Answer `humanllm audit user`; returns the exit code.

    Raises:
        AuditError: no row of any snapshot knows the user.
    """
    store = SnapshotStore(home)
    found = trace(store, user_id=user_id, all_versions=all_versions)
    if not found.hits:
        raise AuditError(_nowhere(store, "user", user_id, "user_id", all_versions))
    return _answer(store, "user", found, as_json, echo)


def _answer(store: SnapshotStore, kind: str, found: Trace, as_json: bool, echo: Echo) -> int:
    if as_json:
        echo(json.dumps(as_data(kind, found), indent=1, ensure_ascii=False, default=str))
    else:
        print_trace(store, kind, found, echo)
    return 0


def as_data(kind: str, found: Trace) -> dict[str, Any]:
    """The whole answer as plain data: every row without its texts."""
    return {
        kind: found.subject,
        "rows": [
            {**k._asdict(), "published": k in found.published, "table": table, "via": via, "row": row}
            for k, table, row, via in found.hits
        ],
        "models": [{**k._asdict(), "published": k in found.published} for k in found.models],
        "sources": [{**k._asdict(), "published": k in found.published} for k in found.raw],
        "journal_answers": found.answers,
        "damage": [d._asdict() for d in found.damage],
    }


def _nowhere(store: SnapshotStore, kind: str, subject: str, column: str, all_versions: bool) -> str:
    """One sentence: it is nowhere; with ids that look like it, when some are found quickly."""
    where = "any retained snapshot" if all_versions else "any published snapshot or what they were made from"
    near = _near(store, subject, column)
    hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    more = "" if all_versions or near else "; older versions: --all-versions"
    return f"no row about the {kind} `{subject}` is in {where}{hint}{more}"


def _near(store: SnapshotStore, subject: str, column: str) -> list[str]:
    tables = [
        str(s.path("records"))
        for s, _ in published(store)
        if isinstance(s, Snapshot) and "records" in s.manifest.tables and s.path("records").is_file()
    ]
    if not tables:
        return []
    source = f"read_parquet({files([Path(t) for t in tables])}, union_by_name = true)"
    with duckdb.connect() as con:
        if column == "user_id":
            alike = "jaro_winkler_similarity(lower(split_part(user_id, '/', 2)), lower(?))"
            query = f"select user_id from {source} group by 1 having {alike} > 0.85 order by {alike} desc, 1 limit 3"
            return [r[0] for r in con.execute(query, [subject.split("/")[-1]] * 2).fetchall()]
        spelled = ", ".join(literal(f"{s}:{subject.split(':')[-1]}") for s in SOURCES)
        start = subject[: max(4, len(subject) - 3)]
        query = f"select distinct record_id from {source} where"
        found = (
            con.execute(f"{query} record_id in ({spelled})").fetchall()
            or con.execute(
                f"{query} record_id >= {literal(start)} and record_id < {literal(start + chr(0x10FFFF))} limit 200"
            ).fetchall()
        )
    return difflib.get_close_matches(subject, [r[0] for r in found], 3, cutoff=0.4)


# ---- showing ---------------------------------------------------------------------------------------------------------


def print_trace(store: SnapshotStore, kind: str, found: Trace, echo: Echo) -> None:
    """The way through the graph, one line per snapshot and table, in 80 columns."""
    user = next((h.row["user_id"] for h in found.hits if h.row.get("user_id") and h.via == "own"), None)
    echo(f"{kind} {found.subject}" + (f", of user {user}" if kind == "record" and user else ""))
    if found.answers:
        echo(f"{found.answers:,} answers of models in the journal are about it")
    lines: dict[tuple[Key, str, str], list[dict[str, Any]]] = {}
    for h in found.hits:
        lines.setdefault((h.key, h.table, h.via), []).append(h.row)
    for via, title in (("own", ""), ("context", "What others wrote about it, which holds its text as context:")):
        mine = {k: v for k, v in lines.items() if k[2] == via}
        if not mine:
            continue
        echo("")
        if title:
            echo(title)
        else:
            for key in found.raw:
                _line(echo, found, key, _raw_files(store, key))
        order = list(dict.fromkeys(k[0] for k in mine))
        for (key, table, _), rows in sorted(mine.items(), key=lambda x: order.index(x[0][0])):
            _line(echo, found, key, say(table, rows))
    if found.models:
        echo("")
        echo("Made from a checkpoint that consumed it:")
        for asset, keys in _by_asset(found.models).items():
            names = ", ".join(k.partition or k.data_version for k in keys)
            for i, line in enumerate(textwrap.wrap(names, WIDTH - 28) or [""]):
                echo(f"  {asset if i == 0 else '':<25} {line}")
    elif not any(h.table == "consumed" for h in found.hits):
        echo("")
        echo("No checkpoint consumed it.")
    for d in found.damage:
        echo(f"WRONG  {d}")


def _by_asset(keys: Iterable[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.asset, []).append(key)
    return found


def _line(echo: Echo, found: Trace, key: Key, content: str) -> None:
    name = f"{key.asset}[{key.partition}]" if key.partition else key.asset
    if key not in found.published:
        name += f" {key.data_version[:8]} (old)"
    lines = textwrap.wrap(content, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    if len(name) + 2 + len(content) <= WIDTH and len(name) <= 38:
        echo(f"{name:<39} {content}" if len(content) <= WIDTH - 40 else f"{name}  {content}")
        return
    echo(name)
    for line in lines:
        echo(f"    {line}")


def _raw_files(store: SnapshotStore, key: Key) -> str:
    path = store.partition_folder(key.asset, key.partition) / key.data_version / "files.parquet"
    if not path.is_file():
        return "its files are not known any more"
    names = [r[0] for r in duckdb.execute("select file from read_parquet(?) where kind = 'records'", [str(path)]).fetchall()]
    return "in " + (names[0] if len(names) == 1 else f"one of {len(names)} files")


def say(table: str, rows: list[dict[str, Any]]) -> str:
    """What some rows of a table say about the subject, by the columns they have."""
    first, n = rows[0], len(rows)

    def count(column: str) -> str:
        found = Counter(str(r[column]) for r in rows if r.get(column) is not None)
        return ", ".join(name if k == 1 else f"{k} {name}" for name, k in sorted(found.items(), key=lambda x: (-x[1], x[0])))

    def plural(word: str) -> str:
        return f"{n:,} {word}{'' if n == 1 else 's'}"

    if table == "dropped":
        return f"left out: {count('reason')}"
    if table == "failures":
        return "no valid answer: " + ", ".join(sorted(f"{r['prompt']} ({r['reason']})" for r in rows))
    if table == "core":
        gone = [r for r in rows if r["reason"]]
        return f"left out: {count('reason')}" if len(gone) == n else f"{n - len(gone):,} of {n:,} in the core"
    if "position" in first and "step" in first:
        places = _ranges(r["position"] for r in rows)
        return f"consumed {n:,} times, epoch {_ranges(r['epoch'] for r in rows)}, step {_ranges(r['step'] for r in rows)}, position {places}"
    if "kept" in first:
        bad = Counter(r["dropped_by"] for r in rows if not r["kept"])
        rest = "".join(f", {k} left out by {name}" for name, k in sorted(bad.items()))
        return f"{sum(bool(r['kept']) for r in rows):,} of {n:,} judged items kept{rest}"
    if "split" in first:
        return f"{plural('sample')}: {count('split')}"
    if "is_correct" in first:
        return f"{plural('answer')}, {sum(bool(r['is_correct']) for r in rows):,} right"
    if "metric" in first and "score" in first:
        return f"{plural('judged answer')}: " + ", ".join(f"{r['metric']} {r['score']}" for r in rows[:6])
    if "control" in first:
        return f"{plural('question')}: {count('control')}"
    if "kind" in first:
        return f"{plural('item')}: {count('kind')}"
    if "n_words" in first:
        return plural("scenario")
    if "harmful" in first:
        return f"kept {plural('record')}, quality {count('quality')}"
    return f"kept {plural('record')}" if table == "records" else plural("row")


def _ranges(values: Iterable[int]) -> str:
    """Numbers in order, a few of them spelled out: `3, 17, 40` or `3, 17, ... 40 (12 in all)`."""
    found = sorted(set(values))
    shown = ", ".join(map(str, found[:6]))
    return shown if len(found) <= 6 else f"{shown}, ... {found[-1]} ({len(found):,} in all)"
