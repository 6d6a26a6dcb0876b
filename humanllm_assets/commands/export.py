"""`humanllm export`: published samples in another trainer's form, in a folder of their own.

What belongs here: which samples, whether they may go, the folder. What does not: forms (`training/exports.py`), the card's words
(`pages/data_card.py`).
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.audit.chain import walk
from humanllm_assets.lineage.identity import find_models
from humanllm_assets.lineage.items import NO_PARTITION, Item
from humanllm_assets.lineage.manifests import Key, Snapshot
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.staleness.gate import find_stale
from humanllm_assets.pages.data_card import DataCard, data_card
from humanllm_assets.partitions import Partitions, parse_pair
from humanllm_assets.sql import parquet, read_rows
from humanllm_assets.training.data import find_not_drawn
from humanllm_assets.training.exports import FORMS, Exported, ExportError, measure_with, write_lines
from resources.files import fsync

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile

Echo = Callable[[str], None]
ASSET = "task_datasets"
LICENCES = {
    "reddit": "none stated for the Pushshift dumps; the texts belong to those who wrote them, under Reddit's User Agreement",
    "reddit_comments": "as reddit",
    "twitter": "none stated by the data set; the texts belong to those who wrote them, under X's terms, which restrict passing them on",
    "blogger": "Blog Authorship Corpus: free for research that is not commercial",
    "amazon": "Amazon Reviews 2018 and 2023: given for research, no licence stated; the texts belong to those who wrote them",
}
LIMITS = (
    "Records were rewritten by a model, which may have lost or added something; names and other private items were looked for, and "
    "no such search finds all.",
    "Personas, profiles, scenarios, questions and answers were written by a model about real or sample users; they may be wrong.",
    "A user who is forgotten later stays in this folder: export again, and delete it.",
    "Control tokens of known chat formats that a text spelled out are broken up by a blank; tell your trainer to split special tokens "
    "where it can.",
)


@dataclass(frozen=True)
class _Selected:
    """Pairs of task and source, with their published samples."""

    name: str
    snapshots: Mapping[str, Snapshot]
    not_drawn: Collection[str]


def export(
    profile: Profile,
    home: Home,
    dataset: str,
    form: str,
    out: Path | None,
    *,
    max_tokens: int | None,
    tokenizer: Path | None,
    echo: Echo,
) -> None:
    """Write the published samples of a recipe, of one pair (`social_qa-reddit`) or of all (`task_datasets`) into a new folder.

    Args:
        out: the folder; null: `exports/<dataset>-<form>` in the working directory.
        max_tokens, tokenizer: samples that are longer by the tokenizer of that folder are left out and counted.

    Raises:
        ExportError: the folder exists, a name is unknown, the samples or their check for contamination are not up to date, one of the
            last two arguments lacks the other, or nothing is left to write.
    """
    if form not in FORMS:
        raise ExportError(f"there is no form `{form}`; --to takes one of: {', '.join(FORMS)}")
    if (max_tokens is None) != (tokenizer is None):
        raise ExportError("--max-tokens and --tokenizer belong together: give both, or neither")
    selected = _select(profile, home, dataset)
    folder = out or Path("exports") / f"{selected.name}-{form}"
    if folder.exists():
        raise ExportError(f"{folder} exists already and is left as it is; name another folder with --out, or delete it")
    measure = measure_with(tokenizer) if tokenizer else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    writing = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        done = write_lines(_read(selected), FORMS[form], writing, max_tokens, measure, selected.not_drawn)
        if not done.splits:
            raise ExportError(
                f"none of the {done.read:,} samples of {dataset} is left to write; raise --max-tokens, or see the data set"
            )
        _describe(profile, home, selected, form, done, writing)
        for path in writing.iterdir():
            fsync(path)
        writing.chmod(0o755)
        os.rename(writing, folder)
        fsync(folder.parent)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    left_out = "".join(f", {n:,} left out as {reason}" for reason, n in sorted(done.dropped.items()))
    echo(f"{folder}: {done.written.total():,} of {done.read:,} samples ({', '.join(done.splits)}){left_out}")


def _select(profile: Profile, home: Home, dataset: str) -> _Selected:
    parts, recipe = Partitions(profile), None
    name = dataset.removeprefix(f"{ASSET}[").removesuffix("]")
    if name == ASSET:
        pairs = parts.pairs
    elif name in parts.pairs:
        pairs = (name,)
    elif name in parts.recipes:
        recipe = profile.recipes[name]
        pairs = parts.pairs_of_recipe(recipe)
        if not pairs or recipe.mix:
            what = "mixes in data that is not ours" if pairs else "is trained on records, not on samples"
            raise ExportError(f"the recipe `{name}` {what}; export {ASSET}, or one of: {', '.join(parts.pairs)}")
    else:
        known = (*parts.recipes, ASSET, *parts.pairs)
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise ExportError(f"there is no data set `{dataset}`{hint} Known: {', '.join(known)}")
    store, items = SnapshotStore(home.root), [Item(ASSET, pair) for pair in pairs]
    wanted = [*items, Item("contamination", NO_PARTITION)]
    if stale := find_stale(build_graph(profile, home), store, wanted):
        first = next((s for s in stale if s.item in wanted), stale[0])
        more = f" (and {len(stale) - 1} more)" if stale[1:] else ""
        raise ExportError(
            f"{dataset} was not exported, because it is not up to date or not checked: {first}{more}; run: humanllm refresh {ASSET} contamination"
        )
    found = {item.partition: snapshot for item in items if (snapshot := store.published(*item))}
    not_drawn: Collection[str] = ()
    if recipe and recipe.samples:
        with duckdb.connect() as con:
            not_drawn = find_not_drawn(con, [snapshot.path("samples") for snapshot in found.values()], recipe)
    return _Selected(name, found, not_drawn)


def _read(selected: _Selected) -> Iterator[dict[str, Any]]:
    """The samples, pair by pair, in the order of their files; read a few hundred at a time."""
    columns = "sample_id, task, source, split, conversations"
    with duckdb.connect() as con:
        files = [snapshot.path("samples") for _, snapshot in sorted(selected.snapshots.items())]
        yield from chain.from_iterable(read_rows(con, f"select {columns} from {parquet([file])}") for file in files)


def _describe(profile: Profile, home: Home, selected: _Selected, form: str, done: Exported, folder: Path) -> None:
    """Write the card, the lineage and the trainer's own file."""
    store = SnapshotStore(home.root)
    behind: dict[Key, Snapshot] = {}
    for snapshot in selected.snapshots.values():
        behind |= walk(store, snapshot).nodes
    stated = sum(snapshot.manifest.tables["samples"].rows for snapshot in selected.snapshots.values())
    if stated != done.read:
        raise ExportError(f"{done.read:,} samples were read where {stated:,} are published; run: humanllm audit --verify")
    nodes = sorted(behind.values(), key=lambda s: s.item)
    models: dict[str, set[str]] = {}
    for node in nodes:
        if found := {model.label for model in find_models(node.manifest.identity)}:
            models.setdefault(node.item.asset, set()).update(found)
    sources = list(dict.fromkeys(source for _, source, _ in done.written))
    code = next(iter(selected.snapshots.values())).manifest.code
    commit = f"commit {code.get('commit') or 'unknown'}" + (" with uncommitted changes" if code.get("dirty") else "")
    loading = FORMS[form].load.replace("<name>", selected.name)
    card = DataCard(
        name=selected.name,
        form=form,
        load=loading,
        profile=profile.name,
        description=profile.description,
        commit=commit,
        counts=done.written,
        dropped=done.dropped,
        made_from={str(s.item): s.data_version for _, s in sorted(selected.snapshots.items())},
        models={asset: sorted(names) for asset, names in models.items()},
        licences={source: LICENCES.get(source, "not known") for source in sources},
        checks=[*_judged(nodes), *_contamination(store, {parse_pair(pair)[0] for pair in selected.snapshots})],
        limits=LIMITS,
        notes=profile.notes,
    )
    (folder / "README.md").write_text(data_card(card), encoding="utf-8")
    lineage = [
        {
            "asset": s.item.asset,
            "partition": s.item.partition,
            "data_version": s.data_version,
            "identity": s.manifest.identity_hash,
            "manifest_sha256": s.manifest_sha256,
        }
        for s in nodes
    ]
    (folder / "lineage.json").write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
    if beside := FORMS[form].beside(selected.name, done.splits):
        (folder / beside[0]).write_text(beside[1], encoding="utf-8")


def _judged(nodes: Sequence[Snapshot]) -> list[str]:
    """What is known of the judges whose verdicts decided."""
    files = [s.path("approvals") for s in nodes if s.item.asset == "judge_approval"]
    if not files:
        return []
    with duckdb.connect() as con:
        return [
            f"{kind}: {says}"
            for kind, says in con.execute(f"select item_kind, says from {parquet(files)} order by all").fetchall()
        ]


def _contamination(store: SnapshotStore, tasks: set[str]) -> list[str]:
    """What of held-out texts stands in the training samples, of the exported tasks and of public benchmarks."""
    snapshot = store.published("contamination", NO_PARTITION)
    assert snapshot is not None  # it was up to date a moment ago
    with duckdb.connect() as con:
        rows = con.execute(f"select held_out, task, says from {parquet([snapshot.path('summary')])} order by all").fetchall()
    return [f"leaks into held-out texts: {says}" for held_out, task, says in rows if held_out != "test" or task in tasks]
