"""What a recipe trains on, as one Parquet file: requirement T7's train split, ablation A2's mix, ablation A1's raw records.

What belongs here: SQL that selects, draws and counts. What does not: tokens, templates (`encoding.py`), order (`order.py`).
Every draw is by a stable hash of the sample's id, so it depends neither on row order nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from humanllm_assets.tasks.split import MACROS, split_sql
from resources.errors import Explained
from resources.profile import ExternalData, Recipe, resolve_path

if TYPE_CHECKING:
    import duckdb

EXTERNAL = "external"  # task of samples that come from a mixed-in data set; their source is its name
RAW = "raw_continuation"
_SAMPLE = "sample_id, task, source, user_id, conversations"
_FIRST_SPLIT, _SPLIT_RANGE = 0.1, 0.8  # A1 splits a text between a tenth and nine tenths of its length


class TrainingDataError(Explained):
    """Training data that cannot be made; one sentence with the remedy."""


@dataclass(frozen=True)
class TrainingData:
    """A written training file. `counts`: rows by (task, source); a mixed-in data set counts as (`external`, its name)."""

    path: Path
    rows: int
    counts: dict[tuple[str, str], int]

    def shares(self) -> dict[str, float]:
        """Share of the rows by origin: `humanllm`, and each mixed-in data set by name."""
        by_origin: dict[str, int] = {}
        for (task, source), n in self.counts.items():
            origin = source if task == EXTERNAL else "humanllm"
            by_origin[origin] = by_origin.get(origin, 0) + n
        return {origin: n / self.rows for origin, n in by_origin.items()}


def training_samples(
    con: duckdb.DuckDBPyConnection, sample_tables: Mapping[tuple[str, str], Path], recipe: Recipe, out: Path
) -> TrainingData:
    """Collect the train split of the recipe's tasks and sources, and what the recipe mixes in (A2), in one file.

    With a mix every origin has its share of the result exactly: the scarcest one decides the size, the others are drawn from.

    Args:
        sample_tables: `samples` Parquet of `task_datasets` by (task, source). Pairs outside the recipe are not read for
            training, but their test samples count as held out too.
        out: written Parquet. Columns: sample_id VARCHAR, task, source, user_id VARCHAR (null for mixed-in samples),
            conversations VARCHAR (ShareGPT turns as JSON). Ordered by sample_id.

    Raises:
        TrainingDataError: no pair of the recipe has samples, a mixed-in file can't be used, a sample of the test split or a
            sample id twice would be trained.
    """
    wanted = {pair: path for pair, path in sample_tables.items() if pair[0] in recipe.tasks and pair[1] in recipe.sources}
    if not wanted:
        raise TrainingDataError(
            f"no task data set belongs to the recipe (tasks {', '.join(recipe.tasks)}; sources {', '.join(recipe.sources)}); "
            "materialize task_datasets first or correct the recipe"
        )
    _create(con, f"select 'humanllm' as origin, {_SAMPLE} from {_parquet(wanted.values())} where split = 'train'")
    for external in recipe.mix:
        _add_external(con, external)
    if recipe.mix:
        _draw_shares(con, recipe)
    data = _write(con, _SAMPLE, out)
    _refuse_test_samples(con, out, sample_tables.values())
    return data


def raw_samples(
    con: duckdb.DuckDBPyConnection, record_tables: Mapping[str, Sequence[Path]], recipe: Recipe, test_fraction: float, out: Path
) -> TrainingData:
    """Collect raw records for ablation A1: the text before a random point is given, the rest is trained.

    Args:
        record_tables: `records` Parquet of `filtered_*` by source.
        test_fraction: threshold `tasks.test_fraction`; records of users of the test split are left out.
        out: written Parquet. Columns: sample_id (= record_id), task, source, user_id, text VARCHAR, split_at INTEGER (characters
            before the split: the end of the word at a point between 10% and 90%, drawn by seed and record id).

    Raises:
        TrainingDataError: no record of the recipe's sources is left.
    """
    paths = [path for source, files in record_tables.items() if source in recipe.sources for path in files]
    if not paths:
        raise TrainingDataError(f"no records of the sources {', '.join(recipe.sources)} were given; materialize filtered_* first")
    for macro in MACROS:
        con.execute(macro)
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
        select 'humanllm' as origin, record_id as sample_id, '{RAW}' as task, source, user_id, text,
               case when word_end < length(text) then word_end else point end as split_at
        from ends
        """,
    )
    return _write(con, "sample_id, task, source, user_id, text, split_at::integer as split_at", out)


def _create(con: duckdb.DuckDBPyConnection, query: str) -> None:
    con.execute(f"create or replace temp table training_pool as {query}")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _parquet(paths: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(_quoted(str(p)) for p in sorted(paths))}])"


def _add_external(con: duckdb.DuckDBPyConnection, external: ExternalData) -> None:
    import duckdb

    path, name = resolve_path(external.path), _quoted(external.name)
    if not path.is_file():
        raise TrainingDataError(f"`{external.name}` of the recipe's mix is missing: {path}; put the ShareGPT JSONL file there")
    remedy = "every line needs `conversations`: turns with `from` and `value`, the last from gpt"
    columns = "columns = {conversations: 'JSON'}, maximum_object_size = 67108864"
    try:
        con.execute(
            f"""
            insert into training_pool
            select distinct {name} as origin, {name} || ':' || left(sha256(conversations::varchar), 16) as sample_id,
                   '{EXTERNAL}' as task, {name} as source, null as user_id, conversations::varchar as conversations
            from read_json({_quoted(str(path))}, format = 'newline_delimited', {columns})
            where conversations->>'$[#-1].from' in ('gpt', 'assistant') and conversations->>'$[#-1].value' <> ''
            """
        )
    except duckdb.Error as e:
        raise TrainingDataError(f"{path} is not a ShareGPT JSONL file ({str(e).splitlines()[0]}); {remedy}") from e
    if not _count(con, external.name):
        raise TrainingDataError(f"{path} holds no conversation to train on; {remedy}")


def _count(con: duckdb.DuckDBPyConnection, origin: str) -> int:
    row = con.execute("select count(*) from training_pool where origin = ?", [origin]).fetchone()
    return row[0] if row else 0


def _draw_shares(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    shares = {external.name: external.share for external in recipe.mix}
    own = 1 - sum(shares.values())
    if own <= 0 or "humanllm" in shares or len(shares) < len(recipe.mix):
        raise TrainingDataError("the shares of `mix` must sum to less than 1, under distinct names other than humanllm")
    shares["humanllm"] = own
    size = min(_count(con, origin) / share for origin, share in shares.items())
    for origin, share in shares.items():
        con.execute(
            "delete from training_pool where origin = $1 and sample_id not in "
            "(select sample_id from training_pool where origin = $1 order by sha256($2 || '|mix|' || sample_id) limit $3)",
            [origin, str(recipe.hyperparameters.seed), int(size * share + 1e-6)],
        )


def _write(con: duckdb.DuckDBPyConnection, columns: str, out: Path) -> TrainingData:
    twice = con.execute("select sample_id from training_pool group by sample_id having count(*) > 1 limit 1").fetchone()
    if twice:
        raise TrainingDataError(f"the sample id {twice[0]} occurs twice; sample ids must be unique over all task data sets")
    rows = con.execute("select task, source, count(*) from training_pool group by all order by all").fetchall()
    counts = {(task, source): n for task, source, n in rows}
    if not counts:
        raise TrainingDataError("no sample of the train split is left for this recipe; check the task data sets' counts")
    query = f"select {columns} from training_pool order by sample_id"
    con.execute(f"copy ({query}) to {_quoted(str(out))} (format parquet, compression zstd)")
    con.execute("drop table training_pool")
    return TrainingData(out, sum(counts.values()), counts)


def _refuse_test_samples(con: duckdb.DuckDBPyConnection, out: Path, tables: Iterable[Path]) -> None:
    """The written file against every data set's held-out rows, whatever the recipe selected: what is trained was checked."""
    held_out = f"select sample_id from {_parquet(tables)} where split <> 'train'"
    found = con.execute(f"select sample_id from {_parquet([out])} where sample_id in ({held_out}) limit 1").fetchone()
    if found:
        out.unlink()
        raise TrainingDataError(f"sample {found[0]} of the test split would be trained; materialize task_datasets again")
