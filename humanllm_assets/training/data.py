"""What a recipe trains on, as one Parquet file: requirement T7's train split, ablation A2's mix, ablation A1's raw records.

What belongs here: SQL that selects, draws and counts. What does not: tokens, templates (`encoding.py`), order (`order.py`).
Every draw is by a stable hash of the sample's id, so it depends neither on row order nor on the number of threads.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from humanllm_assets.sorted_copy import copy_sorted
from humanllm_assets.sql import literal, parquet
from humanllm_assets.tasks.split import MACROS, split_sql
from humanllm_assets.training.conversations import REMEDY
from humanllm_assets.training.mix import read_mix
from resources.errors import Explained
from resources.profile import OWN_DATA, ExternalData, Recipe, resolve_path
from resources.thresholds import Failures

if TYPE_CHECKING:
    import duckdb

EXTERNAL = "external"  # task of samples that come from a mixed-in data set; their source is its name
RAW = "raw_continuation"
Key = TypeVar("Key")
_SAMPLE = "sample_id, task, source, user_id, conversations"
_LINES = 10_000  # of a mixed-in file, held in memory at once
_FIRST_SPLIT, _SPLIT_RANGE = 0.1, 0.8  # A1 splits a text between a tenth and nine tenths of its length


class TrainingDataError(Explained):
    """Training data that cannot be made; one sentence with the remedy."""


@dataclass(frozen=True)
class Origin:
    """What one origin of a mix gave: rows read, those left out by reason, and its share of the result beside the one asked for."""

    read: int
    left_out: dict[str, int]
    share: float
    wanted: float


@dataclass(frozen=True)
class TrainingData:
    """A written training file. `counts`: rows by (task, source); a mixed-in data set counts as (`external`, its name).

    `held_out`: the file of the same columns with the samples of held-out users. `origins`: of a mix, by name. `not_drawn`: samples
    beyond those that the recipe asks for, by (task, source).
    """

    path: Path
    rows: int
    counts: dict[tuple[str, str], int]
    held_out: Path
    held_out_rows: int
    origins: dict[str, Origin]
    not_drawn: dict[tuple[str, str], int]

    def shares(self) -> dict[str, float]:
        """Share of the rows by origin: `humanllm`, and each mixed-in data set by name."""
        return _shares(self.counts)

    def share_error(self, dropped: Path) -> float:
        """Largest difference of an origin's share from the one asked for, after the samples named in `dropped` are left out."""
        import duckdb

        if not self.origins:
            return 0.0
        with duckdb.connect() as con:
            counted = con.execute(
                f"select task, source, count(*) from {_parquet([self.path])} "
                f"where sample_id not in (select sample_id from {_parquet([dropped])}) group by all"
            ).fetchall()
        shares = _shares({(task, source): n for task, source, n in counted})
        return max(abs(shares.get(name, 0.0) - origin.wanted) for name, origin in self.origins.items())

    def left_out(self) -> Counter[str]:
        """Samples and rows of mixed-in files that are not in the written files, by reason."""
        found = Counter({"not_drawn": sum(self.not_drawn.values())})
        for origin in self.origins.values():
            found.update(origin.left_out)
        return found

    def describe_draw(self) -> list[str]:
        """A sentence for each task and source that the recipe does not take whole."""
        return [
            f"{task} of {source}: {self.counts.get((task, source), 0):,} samples drawn, {n:,} not"
            for (task, source), n in self.not_drawn.items()
        ]

    def describe_mix(self) -> list[str]:
        """A sentence for each origin of the mix."""
        return [
            f"{name}: {origin.read:,} rows read, {_listed(origin.left_out)} left out; "
            f"{origin.share:.1%} of the training data ({origin.wanted:.1%} asked for)"
            for name, origin in self.origins.items()
        ]


def _shares(counts: Mapping[tuple[str, str], int]) -> dict[str, float]:
    by_origin: dict[str, int] = {}
    for (task, source), n in counts.items():
        origin = source if task == EXTERNAL else OWN_DATA
        by_origin[origin] = by_origin.get(origin, 0) + n
    return {origin: n / sum(counts.values()) for origin, n in by_origin.items()}


def _listed(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in sorted(left_out.items())) or "none"


def training_samples(
    con: duckdb.DuckDBPyConnection,
    sample_tables: Mapping[tuple[str, str], Path],
    recipe: Recipe,
    out: Path,
    max_left_out: float = Failures().max_quarantine_rate,
) -> TrainingData:
    """Collect the train split of the recipe's tasks and sources, and what the recipe mixes in (A2), in one file.

    With a mix every origin has its share of the result exactly: the scarcest one decides the size, the others are drawn from.

    Args:
        sample_tables: `samples` Parquet of `task_datasets` by (task, source). Pairs outside the recipe are not read for
            training, but their test samples count as held out too.
        out: written Parquet. Columns: sample_id VARCHAR, task, source, user_id VARCHAR (null for mixed-in samples),
            conversations VARCHAR (ShareGPT turns as JSON). Ordered by sample_id. The samples of held-out users of the train
            split are written beside it.
        max_left_out: largest share of a mixed-in file's lines that may be no conversation to train on.

    Raises:
        TrainingDataError: no pair of the recipe has samples, or all have fewer than it asks for, mixed-in files can't be used (all
            of them named), a sample of the test split or a sample id twice would be trained.
    """
    wanted = {pair: path for pair, path in sample_tables.items() if pair[0] in recipe.tasks and pair[1] in recipe.sources}
    if not wanted:
        raise TrainingDataError(
            f"no task data set belongs to the recipe (tasks {', '.join(recipe.tasks)}; sources {', '.join(recipe.sources)}); "
            "materialize task_datasets first or correct the recipe"
        )
    _create(con, f"select '{OWN_DATA}' as origin, {_SAMPLE} from {_parquet(wanted.values())} where split = 'train'")
    not_drawn = _draw_samples(con, recipe)
    left_out: dict[str, Counter[str]] = {OWN_DATA: Counter()}
    wrong = []
    for external in recipe.mix:
        left_out[external.name] = Counter()
        try:
            _add_external(con, external, left_out[external.name], max_left_out)
        except TrainingDataError as e:
            wrong.append(str(e))
    if wrong:
        raise TrainingDataError("; ".join(wrong))
    origins = _draw_shares(con, recipe, left_out) if recipe.mix else {}
    data = _write(con, _SAMPLE, recipe, out, origins, not_drawn)
    _refuse_test_samples(con, out, sample_tables.values())
    return data


def find_not_drawn(con: duckdb.DuckDBPyConnection, sample_tables: Iterable[Path], recipe: Recipe) -> set[str]:
    """Ids of the samples of the train split that a recipe's `samples` leave out; see `training_samples`.

    Raises:
        TrainingDataError: there are fewer than it asks for.
    """
    _create(con, f"select '{OWN_DATA}' as origin, {_SAMPLE} from {_parquet(sample_tables)} where split = 'train'")
    con.execute("create or replace temp table before_draw as select sample_id from training_pool")
    _draw_samples(con, recipe)
    left = con.execute("select sample_id from before_draw anti join training_pool using (sample_id)").fetchall()
    con.execute("drop table training_pool")
    con.execute("drop table before_draw")
    return {row[0] for row in left}


def raw_samples(
    con: duckdb.DuckDBPyConnection, record_tables: Mapping[str, Sequence[Path]], recipe: Recipe, test_fraction: float, out: Path
) -> TrainingData:
    """Collect raw records for ablation A1: the text before a random point is given, the rest is trained.

    Args:
        record_tables: `records` Parquet of `filtered_*` by source.
        test_fraction: threshold `tasks.test_fraction`; records of users of the test split are left out.
        out: written Parquet. Columns: sample_id (= record_id), task, source, user_id, text VARCHAR, split_at INTEGER (characters
            before the split: the end of the word at a point between 10% and 90%, drawn by seed and record id). The records of
            held-out users are written beside it.

    Raises:
        TrainingDataError: no record of the recipe's sources is left, or fewer than it asks for.
    """
    paths = [path for source, files in record_tables.items() if source in recipe.sources for path in files]
    if not paths:
        raise TrainingDataError(f"no records of the sources {', '.join(recipe.sources)} were given; materialize filtered_* first")
    drawn = f"stable_unit('{recipe.hyperparameters.seed}|split_point|' || record_id)"
    point = f"floor(({_FIRST_SPLIT} + {_SPLIT_RANGE} * {drawn}) * length(text))"
    _create(
        con,
        f"""
        with records as (
            select *, ({point})::integer as point from {_parquet(paths)}
            where {split_sql("user_id", test_fraction)} = 'train' and length(text) > 1
        ), ends as (
            select *, point + length(regexp_extract(substr(text, point + 1), '^\\S*')) as word_end from records
        )
        select '{OWN_DATA}' as origin, record_id as sample_id, '{RAW}' as task, source, user_id, text,
               case when word_end < length(text) then word_end else point end as split_at
        from ends
        """,
    )
    not_drawn = _draw_samples(con, recipe)
    return _write(con, "sample_id, task, source, user_id, text, split_at::integer as split_at", recipe, out, {}, not_drawn)


def _create(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Make the table `training_pool`, and the macros that draws from it are written with."""
    for macro in MACROS:
        con.execute(macro)
    con.execute(f"create or replace temp table training_pool as {query}")


def _parquet(paths: Iterable[Path]) -> str:
    return parquet(sorted(paths))


def _add_external(con: duckdb.DuckDBPyConnection, external: ExternalData, left_out: Counter[str], max_left_out: float) -> None:
    import pyarrow as pa

    path = resolve_path(external.path)
    if not path.is_file():
        raise TrainingDataError(f"`{external.name}` of the recipe's mix is missing: {path}; put the JSONL file there")
    con.execute("create or replace temp table mixed_in (sample_id varchar, conversations varchar)")
    read = usable = 0
    rows = read_mix(path)
    while lines := list(islice(rows, _LINES)):
        left_out.update(line.reason for line in lines if line.reason)
        found = [json.dumps(line.turns, ensure_ascii=False) for line in lines if not line.reason]
        read, usable = read + len(lines), usable + len(found)
        batch = pa.table({"key": [hashlib.sha256(text.encode()).hexdigest()[:16] for text in found], "conversations": found})
        con.register("mix_batch", batch)
        con.execute("insert into mixed_in select ? || ':' || key, conversations from mix_batch", [external.name])
    if not usable or sum(left_out.values()) > max_left_out * read:
        what = f"{sum(left_out.values()):,} of its {read:,} lines are left out ({_listed(left_out)})" if read else "it is empty"
        raise TrainingDataError(
            f"`{external.name}` of the recipe's mix can't be used: {what}, at most {max_left_out:.0%} may be; {REMEDY}. "
            f"Layouts: `conversations`, `messages` (role, content), or `question` and `response`. File: {path}"
        )
    con.execute(
        "insert into training_pool by name select distinct on (sample_id) $1 as origin, sample_id, $2 as task, $1 as source, "
        "conversations from mixed_in",
        [external.name, EXTERNAL],
    )
    if twice := usable - _count(con, external.name):
        left_out["twice"] = twice


def _count(con: duckdb.DuckDBPyConnection, origin: str, condition: str = "true") -> int:
    row = con.execute(f"select count(*) from training_pool where origin = ? and {condition}", [origin]).fetchone()
    return row[0] if row else 0


def _draw_shares(con: duckdb.DuckDBPyConnection, recipe: Recipe, left_out: Mapping[str, Counter[str]]) -> dict[str, Origin]:
    """Keep of every origin what its share of the trained samples is; what is not drawn is added to `left_out`."""
    shares = {external.name: external.share for external in recipe.mix}
    shares[OWN_DATA] = 1 - sum(shares.values())
    trained = f"not {_is_held_out(recipe)}"
    found = {origin: _count(con, origin, trained) for origin in shares}
    size = min(found[origin] / share for origin, share in shares.items())
    kept = {origin: int(size * share + 1e-6) for origin, share in shares.items()}
    for origin, limit in kept.items():
        con.execute(
            f"delete from training_pool where origin = $1 and {trained} and sample_id not in (select sample_id from training_pool "
            f"where origin = $1 and {trained} order by sha256($2 || '|mix|' || sample_id) limit $3)",
            [origin, str(recipe.hyperparameters.seed), limit],
        )
    result = {}
    for origin, share in shares.items():
        read = found[origin] + sum(left_out[origin].values())
        reasons = {**left_out[origin], **({"not_drawn": found[origin] - kept[origin]} if found[origin] > kept[origin] else {})}
        result[origin] = Origin(read, reasons, kept[origin] / max(1, sum(kept.values())), share)
    return result


def _is_held_out(recipe: Recipe) -> str:
    """SQL: a sample's user is one whose samples are not trained. Reads the macros of `tasks/split.py`."""
    return f"coalesce(stable_unit('{recipe.hyperparameters.seed}|held_out|' || user_id) < {recipe.held_out!r}, false)"


def share_out(total: int, available: Mapping[Key, int], weights: Mapping[Key, float]) -> dict[Key, int]:
    """Give `total` to the keys by their weights (1 where none is given), to none more than is available: what it lacks, the others
    get. The sum is `total`, or all that is available."""
    weight = {key: weights.get(key, 1.0) for key in available}
    left, rest = min(total, sum(available.values())), sorted(available, key=lambda key: (available[key] / weight[key], str(key)))
    given: dict[Key, int] = {}
    while rest:
        share = left * weight[rest[0]] / sum(weight[key] for key in rest)
        key = rest.pop(0)
        given[key] = min(available[key], round(share))
        left -= given[key]
    return given


def _draw_samples(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> dict[tuple[str, str], int]:
    """Keep of the pool as many trained samples as the recipe asks for (T7); returns how many of each task and source go."""
    if recipe.samples is None:
        return {}
    trained = f"not {_is_held_out(recipe)}"
    counted = con.execute(
        f"select task, source, count(*) from training_pool where {trained} group by all order by all"
    ).fetchall()
    found: dict[str, dict[str, int]] = {}
    for task, source, n in counted:
        found.setdefault(task, {})[source] = n
    there = {task: sum(sources.values()) for task, sources in found.items()}
    if sum(there.values()) < recipe.samples:
        raise TrainingDataError(
            f"the recipe asks for {recipe.samples:,} samples and there are {sum(there.values()):,} to train on "
            f"({', '.join(f'{task} {n:,}' for task, n in there.items())}); lower `samples`, or raise the profile's caps"
        )
    of_tasks = share_out(recipe.samples, there, dict(recipe.task_weights))
    kept = {
        (task, source): n
        for task, sources in found.items()
        for source, n in share_out(of_tasks[task], sources, dict(recipe.source_weights)).items()
    }
    limits = ", ".join(f"({literal(task)}, {literal(source)}, {n})" for (task, source), n in kept.items())
    con.execute(f"""
        delete from training_pool where sample_id in (
            select sample_id from (
                select sample_id, task, source, row_number() over (partition by task, source
                    order by stable_int('{recipe.hyperparameters.seed}|draw|' || sample_id), sample_id) as place
                from training_pool where {trained}
            ) join (values {limits}) as limits(task, source, most) using (task, source) where place > most)
    """)
    gone = {pair: found[pair[0]][pair[1]] - n for pair, n in kept.items()}
    return {pair: n for pair, n in gone.items() if n}


def _write(
    con: duckdb.DuckDBPyConnection,
    columns: str,
    recipe: Recipe,
    out: Path,
    origins: Mapping[str, Origin],
    not_drawn: Mapping[tuple[str, str], int],
) -> TrainingData:
    twice = con.execute("select sample_id from training_pool group by sample_id having count(*) > 1 limit 1").fetchone()
    if twice:
        raise TrainingDataError(f"the sample id {twice[0]} occurs twice; sample ids must be unique over all task data sets")
    held_out = _is_held_out(recipe)
    rows = con.execute(
        f"select task, source, count(*) from training_pool where not {held_out} group by all order by all"
    ).fetchall()
    counts = {(task, source): n for task, source, n in rows}
    if not counts:
        raise TrainingDataError("no sample of the train split is left for this recipe; check the task data sets' counts")
    beside = out.with_name(f"{out.stem}.held_out{out.suffix}")
    for path, which in ((out, f"not {held_out}"), (beside, held_out)):
        copy_sorted(con, f"select {columns} from training_pool where {which}", "sample_id", path)
    held_out_rows = con.execute(f"select count(*) from training_pool where {held_out}").fetchall()[0][0]
    con.execute("drop table training_pool")
    return TrainingData(out, sum(counts.values()), counts, beside, held_out_rows, dict(origins), dict(not_drawn))


def _refuse_test_samples(con: duckdb.DuckDBPyConnection, out: Path, tables: Iterable[Path]) -> None:
    """The written file against every data set's held-out rows, whatever the recipe selected: what is trained was checked."""
    held_out = f"select sample_id from {_parquet(tables)} where split <> 'train'"
    found = con.execute(f"select sample_id from {_parquet([out])} where sample_id in ({held_out}) limit 1").fetchone()
    if found:
        out.unlink()
        raise TrainingDataError(f"sample {found[0]} of the test split would be trained; materialize task_datasets again")
