"""Why one identity differs from another, in phrases that a person can act on.

    threshold qc.overall_above 8 -> 7
    prompt rewrite_record: text changed, lines 12-14
    filtered_reddit[askdaily]: 3 rows added, 1 removed, 2 changed
    code of humanllm_assets.filtering.rules changed

What belongs here: comparing two payloads, prompt texts and snapshots. What does not: which partitions are stale (`plan.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.lineage.nodes import display
from humanllm_assets.lineage.snapshots import Ref, Snapshot, SnapshotError, SnapshotStore
from resources.prompting.prompts import PROMPTS, Prompt, PromptError
from resources.thresholds import Thresholds

Path_ = tuple[str, ...]
_NAMING = ("file", "name", "id")  # fields by which the entries of a list are told apart


@dataclass(frozen=True)
class Change:
    """One difference: its place in the identity, both values (None = absent) and the phrase that says it. `rows` counts added,
    removed and changed rows of a changed parent."""

    phrase: str
    field: str = ""
    old: Any = None
    new: Any = None
    rows: Mapping[str, int] | None = None


def _named(value: Any) -> Any:
    """A list of mappings as a mapping by their names, so that one changed entry reads as one difference."""
    if isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        for key in _NAMING:
            names = [v.get(key) for v in value]
            if all(isinstance(n, str) for n in names) and len(set(names)) == len(names):
                return dict(zip(names, value, strict=True))
    return value


def _leaves(old: Any, new: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any, Any]]:
    old, new = _named(old), _named(new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _leaves(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield path, old, new


def _at(payload: Any, path: Path_) -> Any:
    for key in path:
        payload = _named(payload)
        payload = payload.get(key) if isinstance(payload, Mapping) else None
    return payload


@dataclass
class Details:
    """Where the finer differences are looked up: old prompt texts and old snapshots, as far as they are still there."""

    store: SnapshotStore
    prompts: Path  # folder of texts by their hash
    _rows: dict[tuple[Path, Path], dict[str, int] | None] = field(default_factory=dict)

    def lines(self, name: str, old_sha256: str) -> str:
        """`lines 12-14, 20` of a prompt's file that differ from an older text; empty when that text is gone."""
        try:
            old = (self.prompts / f"{old_sha256}.md").read_text(encoding="utf-8")
            new = Prompt.load(name).text
        except (FileNotFoundError, PromptError):
            return ""
        file = (PROMPTS / f"{name}.md").read_text(encoding="utf-8").splitlines()
        return changed_lines(old, new, next(i for i in range(file.index("---", 1) + 1, len(file)) if file[i].strip()))

    def rows(self, old: Ref, new: Snapshot) -> dict[str, int] | None:
        """Rows of the parent's main table that were added, removed, changed; None when the old snapshot is gone."""
        try:
            before = self.store.by_ref(old)
        except SnapshotError:
            return None
        shared = [t for t in new.manifest.tables if t in before.manifest.tables]
        if not shared:
            return None  # a model's folder
        files = before.path(shared[0]), new.path(shared[0])
        if not all(f.is_file() for f in files):
            return None
        if files not in self._rows:
            self._rows[files] = row_differences(*files)
        return self._rows[files]


def changed_lines(old: str, new: str, offset: int = 0) -> str:
    """Line numbers in `new`, counted from `offset` + 1, at which it differs from `old`: "lines 12-14, 20"."""
    ranges = []
    for kind, _, _, start, end in difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), False).get_opcodes():
        if kind != "equal":
            first, last = start + 1 + offset, max(start + 1, end) + offset
            ranges.append(str(first) if first == last else f"{first}-{last}")
    if not ranges:
        return ""
    return ("line " if len(ranges) == 1 and "-" not in ranges[0] else "lines ") + ", ".join(ranges)


def row_differences(old: Path, new: Path) -> dict[str, int]:
    """Compare two Parquet tables by their first column as id and a hash of the whole row."""

    def side(path: Path) -> str:
        quoted = str(path).replace("'", "''")
        return (
            f"(select id, count(*) as n, bit_xor(hash(t)) as h from (select columns(*), #1 as id from '{quoted}') t group by id)"
        )

    with duckdb.connect() as con:
        added, removed, changed = con.execute(
            f"""
            select coalesce(sum(b.n) filter (a.n is null), 0), coalesce(sum(a.n) filter (b.n is null), 0),
                   coalesce(sum(greatest(a.n, b.n)) filter (a.n <> b.n or a.h <> b.h), 0)
            from {side(old)} a full join {side(new)} b on a.id = b.id
            """
        ).fetchall()[0]
    return {"added": int(added), "removed": int(removed), "changed": int(changed)}


def rows_phrase(rows: Mapping[str, int]) -> str:
    """`3 rows added, 1 removed`; how a table changed that is equal in its rows is said by the caller."""
    parts = [f"{n:,} {kind}" for kind, n in rows.items() if n]
    if not parts:
        return ""
    number, _, rest = parts[0].partition(" ")
    return ", ".join([f"{number} row{'' if number == '1' else 's'} {rest}", *parts[1:]])


def changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    details: Details | None = None,
    parents: Mapping[tuple[str, str], tuple[Ref, Snapshot]] | None = None,
) -> list[Change]:
    """The differences of two identity payloads, what people change first.

    Args:
        details: looks up changed lines of prompts and changed rows of parents.
        parents: for parents that both identities name, what the old one read and what is published now.
    """
    found = [_change(path, before, after, old, new, details, parents or {}) for path, before, after in _leaves(old, new)]
    order = {"contract": 1, "columns": 1, "code": 2}
    return sorted(found, key=lambda c: order.get(c.field.split(".")[0], 0))


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The changed fields of two identities, one phrase each, without looking anything up."""
    return [c.phrase for c in changes(old, new)]


def _change(
    path: Path_,
    before: Any,
    after: Any,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    details: Details | None,
    parents: Mapping[tuple[str, str], tuple[Ref, Snapshot]],
) -> Change:
    field, rows = ".".join(path), None
    became = "is new" if before is None else "was removed" if after is None else "changed"
    moved = f"{_short(before)} -> {_short(after)}" if not isinstance(before or after, Mapping) else became
    head, rest = path[0], path[1:]
    holder = _at(new, path[:-1]) or _at(old, path[:-1])
    if head == "upstream":
        phrase = f"{display(rest[0], rest[1])} {became}" if rest[1:] else f"{rest[0]} {became}"
        if details and len(rest) == 2 and (found := parents.get((rest[0], rest[1]))):
            rows = details.rows(*found)
            if rows and (said := rows_phrase(rows)):
                phrase = f"{display(rest[0], rest[1])}: {said}"
    elif head == "code":
        phrase = f"code of {'.'.join(rest)} {became}" if rest else "code changed"
    elif head == "contract":
        rule = rest[0] if rest else ""
        what = f"{rest[-1]} {moved}" if rest[1:] and became == "changed" else became
        phrase = f"contract {rule}: {what}" if rule else "contract changed"
    elif head == "columns":
        phrase = f"columns of {rest[0]} changed" if rest else "columns changed"
    elif head == "external" and rest[:1] == ("problem",):
        phrase = str(after) if after else "its files can be read again"
    elif head == "external" and rest[:1] == ("files",):
        phrase = f"file {rest[1]} {became}" if rest[1:] else f"files {became}"
    elif isinstance(holder, Mapping) and "text_sha256" in holder:
        lines = details.lines(str(holder.get("name")), before) if details and path[-1] == "text_sha256" and before else ""
        what = {"text_sha256": "text changed", "schema": "answer schema changed"}.get(path[-1], f"{path[-1]} {moved}")
        phrase = f"prompt {holder.get('name')}: {what}" + (f", {lines}" if lines else "")
    elif isinstance(prompt := after or before, Mapping) and "text_sha256" in prompt:
        phrase = f"prompt {prompt.get('name')} {became}"
    elif isinstance(holder, Mapping) and set(holder) == {"name", "revision"}:
        phrase = f"model {holder['name']} revision {moved}" if path[-1] == "revision" else f"{'.'.join(path[:-1])} {moved}"
    elif head in Thresholds.model_fields:
        phrase = f"threshold {field} {moved}"
    else:
        phrase = f"{field} {moved}"
    return Change(phrase, field, before, after, rows)


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"
