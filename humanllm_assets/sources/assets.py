"""raw_*: what lies in each slice's files. A new or changed file becomes visible here, by its content hash."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.nodes import Node, StepError, display
from humanllm_assets.partitions import Partitions
from humanllm_assets.sources.counting import count_rows
from humanllm_assets.sources.files import find_files
from humanllm_assets.sources.layouts import detect_layout
from humanllm_assets.sources.readers import CONTEXT_OF, ReadReport, read_records
from humanllm_assets.tables import RAW_FILES
from resources.errors import Explained
from resources.files import FileHashes
from resources.profile import resolve_path

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile

_TITLES = {
    "reddit": "Reddit submissions, one slice per subreddit (S1)",
    "twitter": "Tweets, one slice per shard group (S2)",
    "blogger": "Blog posts of the Blog Authorship Corpus, one slice per chunk (S3)",
    "amazon": "Amazon reviews and items, one slice per category (S4)",
    "reddit_comments": "Reddit comments and the posts they answer, one slice per subreddit (S5)",
}


def slice_files(profile: Profile, source: str, slice_name: str) -> tuple[Path, list[Path], list[Path]]:
    """Folder, record files and context files of a slice. Raises SourceError when the folder or a file is missing."""
    config = profile.sources[source]
    folder, files = resolve_path(config.folder), config.slices[slice_name]
    context = find_files(folder, files.context_files) if files.context_files else []
    return folder, find_files(folder, files.files), context


def fingerprints(profile: Profile, home: Home, source: str, slice_name: str) -> list[dict[str, str]]:
    """Name, kind and content hash of every file of a slice."""
    folder, records, context = slice_files(profile, source, slice_name)
    files = [*records, *context]
    hashes = FileHashes(home.root).sha256(files)
    return [
        {"file": str(path.relative_to(folder)), "kind": "records" if i < len(records) else "context", "sha256": sha256}
        for i, (path, sha256) in enumerate(zip(files, hashes, strict=True))
    ]


def nodes(profile: Profile, home: Home) -> list[Node]:
    parts = Partitions(profile)
    contract = Contract.load("raw", profile.thresholds)
    return [
        Node(
            name=f"raw_{source}",
            group="sources",
            description=f"{_TITLES[source]}: files as found, their layout, rows and content hashes. The data version is the files' content.",
            kinds=frozenset({"file", source.removesuffix("_comments")}),
            tables={"files": RAW_FILES},
            partitions=parts.slices(source),
            external=partial(_external, profile, home, source),
            compute=partial(_raw, source),
            contract=contract,
        )
        for source in parts.sources
    ]


def _external(profile: Profile, home: Home, source: str, slice_name: str) -> dict[str, Any]:
    try:
        return {"files": fingerprints(profile, home, source, slice_name)}
    except Explained as e:
        return {"problem": str(e)}  # planning goes on; the step itself stops with this sentence


def _raw(source: str, step: Step) -> None:
    folder, records, context = slice_files(step.profile, source, step.partition)
    rows = 0
    for file in fingerprints(step.profile, step.runtime.home, source, step.partition):
        path = folder / file["file"]
        layout = detect_layout(source if file["kind"] == "records" else CONTEXT_OF[source], path)
        if file["kind"] == "records":
            rows += count_rows(path, layout)
        step.write("files", [{**file, "layout": layout, "bytes": path.stat().st_size}])
    step.count(entered=rows, kept=rows, dropped={})
    step.measures |= {"files": len(records) + len(context), "rows": rows}


def _read(step: Step, source: str, slice_name: str) -> ReadReport:
    """Read a slice's files after making sure that they are still those which raw_* recorded."""
    raw = step.inputs[f"raw_{source}"][slice_name]
    recorded = step.con.execute(
        "select file, kind, sha256 from read_parquet(?) order by all", [str(raw.path("files"))]
    ).fetchall()
    now = sorted((f["file"], f["kind"], f["sha256"]) for f in fingerprints(step.profile, step.runtime.home, source, slice_name))
    if recorded != now:
        name = display(f"raw_{source}", slice_name)
        raise StepError(f"the files of {name} changed after it was materialized; run: humanllm materialize '{name}'")
    _, records, context = slice_files(step.profile, source, slice_name)
    return read_records(step.con, source, slice_name, records, context, step.workdir)
