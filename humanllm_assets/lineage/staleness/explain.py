"""Why one identity differs from another, in phrases that a person can act on.

    threshold qc.overall_above 8 -> 7
    prompt rewrite_record: text changed, lines 12-14
    filtered_reddit[askdaily]: 3 rows added, 1 removed, 2 changed
    code of humanllm_assets.filtering.rules.reddit changed

What belongs here: comparing two payloads, prompt texts and snapshots, and the phrases. What does not: which partitions are stale
(`plan.py`), what a prompt or model is (`lineage/identity.py`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from humanllm_assets.lineage.identity import is_model, is_prompt
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Ref, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotError, SnapshotStore
from humanllm_assets.sql import parquet
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
    if isinstance(old or new, Mapping):  # an empty list beside a list by names has none of them
        old, new = ({} if value == [] else value for value in (old, new))
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

    def find_lines(self, name: str, old_sha256: str) -> str:
        """`lines 12-14, 20` of a prompt's file that differ from an older text; empty when that text is gone."""
        try:
            old = (self.prompts / f"{old_sha256}.md").read_text(encoding="utf-8")
            new = Prompt.load(name).text
        except (FileNotFoundError, PromptError):
            return ""
        file = (PROMPTS / f"{name}.md").read_text(encoding="utf-8").splitlines()
        return find_changed_lines(old, new, next(i for i in range(file.index("---", 1) + 1, len(file)) if file[i].strip()))

    def count_rows(self, old: Ref, new: Snapshot) -> dict[str, int] | None:
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
            self._rows[files] = count_row_differences(*files)
        return self._rows[files]


def find_changed_lines(old: str, new: str, offset: int = 0) -> str:
    """Line numbers in `new`, counted from `offset` + 1, at which it differs from `old`: "lines 12-14, 20"."""
    ranges = []
    for kind, _, _, start, end in difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), False).get_opcodes():
        if kind != "equal":
            first, last = start + 1 + offset, max(start + 1, end) + offset
            ranges.append(str(first) if first == last else f"{first}-{last}")
    if not ranges:
        return ""
    return ("line " if len(ranges) == 1 and "-" not in ranges[0] else "lines ") + ", ".join(ranges)


def count_row_differences(old: Path, new: Path) -> dict[str, int]:
    """Compare two Parquet tables by their first column as id and a hash of the whole row."""

    def side(path: Path) -> str:
        rows = f"select columns(*), #1 as id from {parquet([path])}"
        return f"(select id, count(*) as n, bit_xor(hash(t)) as h from ({rows}) t group by id)"

    with duckdb.connect() as con:
        added, removed, changed = con.execute(
            f"""
            select coalesce(sum(b.n) filter (a.n is null), 0), coalesce(sum(a.n) filter (b.n is null), 0),
                   coalesce(sum(greatest(a.n, b.n)) filter (a.n <> b.n or a.h <> b.h), 0)
            from {side(old)} a full join {side(new)} b on a.id = b.id
            """
        ).fetchall()[0]
    return {"added": int(added), "removed": int(removed), "changed": int(changed)}


def describe_row_counts(rows: Mapping[str, int]) -> str:
    """`3 rows added, 1 removed`; empty when no row differs: the caller then says how the table changed."""
    parts = [f"{n:,} {kind}" for kind, n in rows.items() if n]
    if not parts:
        return ""
    number, _, rest = parts[0].partition(" ")
    return ", ".join([f"{number} row{'' if number == '1' else 's'} {rest}", *parts[1:]])


class ReadAndNow(NamedTuple):
    """A parent that both identities name: what the old one read, and what is published now."""

    read: Ref
    now: Snapshot


def find_changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    details: Details | None = None,
    parents: Mapping[Item, ReadAndNow] | None = None,
) -> list[Change]:
    """The differences of two identity payloads, what people change first.

    Args:
        details: looks up changed lines of prompts and changed rows of parents.
        parents: those that both identities name.
    """
    found = [
        _change(_Difference(path, before, after, _at(new, path[:-1]) or _at(old, path[:-1]), details, parents or {}))
        for path, before, after in _leaves(old, new)
    ]
    order = {"contract": 1, "columns": 1, "code": 2}
    return sorted(found, key=lambda c: order.get(c.field.split(".")[0], 0))


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The changed fields of two identities, one phrase each, without looking anything up."""
    return [c.phrase for c in find_changes(old, new)]


# ---- phrases ---------------------------------------------------------------------------------------------------------


class _Difference(NamedTuple):
    """One leaf in which two identities differ. `holder`: the mapping that it stands in."""

    path: Path_
    before: Any
    after: Any
    holder: Any
    details: Details | None
    parents: Mapping[Item, ReadAndNow]

    @property
    def rest(self) -> Path_:
        """The path without the place in the payload."""
        return self.path[1:]

    @property
    def became(self) -> str:
        return "is new" if self.before is None else "was removed" if self.after is None else "changed"

    @property
    def moved(self) -> str:
        """`8 -> 7`."""
        if isinstance(self.before or self.after, Mapping):
            return self.became
        return f"{_short(self.before)} -> {_short(self.after)}"

    def count_rows(self) -> dict[str, int] | None:
        """Rows that changed in the parent that the difference is about, where they can be looked up."""
        if self.details is None or self.path[0] != "upstream" or len(self.rest) != 2:
            return None
        parent = self.parents.get(Item(*self.rest))
        return self.details.count_rows(*parent) if parent else None


def _change(d: _Difference) -> Change:
    rows = d.count_rows()
    if rows and (counted := describe_row_counts(rows)):
        phrase = f"{Item(*d.rest)}: {counted}"
    else:
        phrase = _PHRASES.get(d.path[0], _describe_setting)(d)
    return Change(phrase, ".".join(d.path), d.before, d.after, rows)


def _describe_parent(d: _Difference) -> str:
    return f"{Item(*d.rest[:2])} {d.became}"


def _describe_code(d: _Difference) -> str:
    return f"code of {'.'.join(d.rest)} {d.became}" if d.rest else "code changed"


def _describe_contract(d: _Difference) -> str:
    if not d.rest:
        return "contract changed"
    what = f"{d.rest[-1]} {d.moved}" if d.rest[1:] and d.became == "changed" else d.became
    return f"contract {d.rest[0]}: {what}"


def _describe_columns(d: _Difference) -> str:
    return f"columns of {d.rest[0]} changed" if d.rest else "columns changed"


def _describe_outside(d: _Difference) -> str:
    if d.rest[:1] == ("problem",):
        return str(d.after) if d.after else "its files can be read again"
    if d.rest[:1] == ("files",):
        return f"file {d.rest[1]} {d.became}" if d.rest[1:] else "files changed"
    return _describe_setting(d)


def _describe_setting(d: _Difference) -> str:
    """A prompt, a model, a threshold, or another field by its dotted name."""
    if is_prompt(d.holder):
        return _describe_prompt(d)
    if is_prompt(prompt := d.after or d.before):
        return f"prompt {prompt['name']} {d.became}"
    if is_model(d.holder):
        name, place = d.holder["name"], ".".join(d.path[:-1])
        return f"{place} {d.moved}" if d.path[-1] == "name" else f"model {name} {d.path[-1]} {d.moved}"
    kind = "threshold " if d.path[0] in Thresholds.model_fields else ""
    return f"{kind}{'.'.join(d.path)} {d.moved}"


def _describe_prompt(d: _Difference) -> str:
    name, field_name = d.holder["name"], d.path[-1]
    lines = d.details.find_lines(name, d.before) if d.details and field_name == "text_sha256" and d.before else ""
    what = {"text_sha256": "text changed", "schema": "answer schema changed"}.get(field_name, f"{field_name} {d.moved}")
    return f"prompt {name}: {what}" + (f", {lines}" if lines else "")


_PHRASES: Mapping[str, Callable[[_Difference], str]] = {  # by place in the payload
    "upstream": _describe_parent,
    "code": _describe_code,
    "contract": _describe_contract,
    "columns": _describe_columns,
    "external": _describe_outside,
}


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"
