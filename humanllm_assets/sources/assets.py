"""raw_*: what lies in each slice's files. A new or changed file becomes visible here, by its content hash."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Node, StepError
from humanllm_assets.partitions import Partitions
from humanllm_assets.sources.files import find_files, find_hidden
from humanllm_assets.sources.layouts import count_rows, detect_layout, load_files
from humanllm_assets.tables import RAW_FILES
from resources.errors import Explained
from resources.files import FileHashes
from resources.profile import resolve_path
from resources.sources import SOURCES

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


class SliceFiles(NamedTuple):
    """The files of a slice, sorted by path."""

    folder: Path
    records: list[Path]
    context: list[Path]


def slice_files(profile: Profile, source: str, slice_name: str) -> SliceFiles:
    """The files of a slice.

    Raises:
        SourceError: the folder or a file is missing.
    """
    config = profile.sources[source]
    folder, files = resolve_path(config.folder), config.slices[slice_name]
    context = find_files(folder, files.context_files) if files.context_files else []
    return SliceFiles(folder, find_files(folder, files.files), context)


def fingerprints(profile: Profile, home: Home, source: str, slice_name: str) -> list[dict[str, str]]:
    """Name below the source's folder (`file`), `kind` (records or context) and `sha256` of every file of a slice.

    Raises:
        SourceError: the folder or a file is missing.
    """
    folder, records, context = slice_files(profile, source, slice_name)
    files = [*records, *context]
    hashes = FileHashes(home.root).sha256(files)
    return [
        {"file": str(path.relative_to(folder)), "kind": "records" if i < len(records) else "context", "sha256": sha256}
        for i, (path, sha256) in enumerate(zip(files, hashes, strict=True))
    ]


def check_slice(step: Step, source: str, slice_name: str) -> SliceFiles:
    """The files of a slice, after making sure that they are still those which raw_* recorded.

    Raises:
        StepError: a file was added, removed or edited since.
    """
    raw = step.inputs[f"raw_{source}"][slice_name]
    recorded = step.con.execute(
        "select file, kind, sha256 from read_parquet(?) order by all", [str(raw.path("files"))]
    ).fetchall()
    now = sorted((f["file"], f["kind"], f["sha256"]) for f in fingerprints(step.profile, step.runtime.home, source, slice_name))
    if recorded != now:
        name = Item(f"raw_{source}", slice_name)
        raise StepError(f"the files of {name} changed after it was materialized; run: humanllm materialize '{name}'")
    return slice_files(step.profile, source, slice_name)


def count_differing_rows(step: Step, source: str, read: Mapping[Path, int]) -> int:
    """Rows by which the files that a step has read differ from what raw_* counted in them, added up over the files.

    Args:
        read: rows by file, unreadable ones included, of the slice of the step's partition, whose files `check_slice` gave.
    """
    raw = step.inputs[f"raw_{source}"][step.partition]
    counted = step.con.execute(
        "select file, rows from read_parquet(?) where kind = 'records'", [str(raw.path("files"))]
    ).fetchall()
    folder = resolve_path(step.profile.sources[source].folder)
    return sum(abs(read.get(folder / file, 0) - rows) for file, rows in counted)


def _fingerprint(profile: Profile, home: Home, source: str, slice_name: str) -> dict[str, Any]:
    try:
        return {"files": fingerprints(profile, home, source, slice_name)}
    except Explained as e:
        return {"problem": str(e)}  # planning goes on; the step itself stops with this sentence


def _declare_raw(profile: Profile, home: Home, source: str) -> Node:
    facts, files = SOURCES[source], load_files(source)
    # The layouts are part of the identity as data: the module that holds them holds the reader's SQL too, which decides nothing here.
    layouts = {"records": [x.recognition for x in files.records], "context": [x.recognition for x in files.context]}
    return Node(
        name=f"raw_{source}",
        group="sources",
        description=f"{facts.title}: files as found, their layout, rows and content hashes. The data version is the files' content.",
        kinds=frozenset({"file", facts.site}),
        tables={"files": RAW_FILES},
        partitions=Partitions(profile).slices(source),
        identity=lambda partition: {"layouts": layouts},
        external=partial(_fingerprint, profile, home, source),
        compute=partial(_raw, source),
        code=files.cutting_modules,
        contract=Contract.load("raw", profile.thresholds),
    )


def _raw(source: str, step: Step) -> None:
    folder, records, context = slice_files(step.profile, source, step.partition)
    config = step.profile.sources[source].slices[step.partition]
    for path in find_hidden(folder, [*config.files, *config.context_files]):
        step.log(f"left out the hidden file {path.relative_to(folder)}; a pattern that begins with a dot would name it")
    layouts = load_files(source)
    written: list[dict[str, Any]] = []
    for file in fingerprints(step.profile, step.runtime.home, source, step.partition):
        path, holds_records = folder / file["file"], file["kind"] == "records"
        found = detect_layout(layouts.records if holds_records else layouts.context, path)
        rows = count_rows(path, found) if holds_records else None
        written.append({**file, "layout": str(found), "bytes": path.stat().st_size, "rows": rows})
    step.write("files", written)
    rows = sum(file["rows"] or 0 for file in written)
    step.count(entered=rows, kept=rows, dropped={})
    step.measures |= {"files": len(records) + len(context), "rows": rows}


def nodes(profile: Profile, home: Home) -> list[Node]:
    """raw_<source> of every source of the profile."""
    return [_declare_raw(profile, home, source) for source in Partitions(profile).sources]
