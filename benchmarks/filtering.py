"""How fast source files are read and filtered: CPU seconds of the process tree and peak memory, beside bare DuckDB and others.

    python benchmarks/filtering.py                                  100,000 rows in every packing, k-core of 1M pairs
    python benchmarks/filtering.py --scale 1,10,30                  does memory grow with the slice?
    python benchmarks/filtering.py --pairs 10000000,100000000       the k-core alone at two sizes, with --cases kcore
    python benchmarks/filtering.py --paper --cases zst,parquet,xml,amazon,kcore --scale 1,3,10 --pairs 1000000,3000000,10000000
                                                                    hours, memory and disk for the paper's 707M raw texts
    python benchmarks/filtering.py --peers polars,datatrove --python /path/to/their/environment/bin/python

The rows are invented and seeded: submissions with 80 fields as in the monthly dumps (3 KB each), reviews as in Amazon's files, blogs
as in the XML files of the corpus. Every measurement is a process of its own; contestants take turns, and the best round counts.
CPU is that of a process and its children after its imports. "ratio" is rows per CPU-second beside bare DuckDB on the same rows as
plain lines: one query with the same conditions and the same kept rows, written as Parquet. No ready reader opens the zst files,
which declare a window of 2 GiB as the official ones do, nor the XML files. Ours is what `eligible_*` does short of hashing and
auditing what it wrote.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = ("ndjson", "gz", "zst", "parquet", "amazon", "xml", "kcore")
PEERS = ("polars", "pandas", "datatrove")
BLOCK = 20_000  # rows that are drawn; more rows are these again with other ids, users and first words
MARK = b"@@REP@"  # stands where a repetition differs
POSTS_PER_BLOG = 35
DUCKDB_MEMORY = "512MB"
PAPER = {
    "zst": 47_200_000,
    "parquet": 88_100_000,
    "xml": 681_000,
    "amazon": 571_540_000,
    "kcore": 571_540_000,
}  # raw texts, Table A1
_LINE = "{case:<8}{rows:>12}  {who:<10}{kept:>11}{cpu:>10}{wall:>10}{speed:>12}{ratio:>7}{memory:>10}{disk:>11}"

# ---- invented rows ---------------------------------------------------------------------------------------------------

_SYLLABLES = [
    "ka",
    "lo",
    "mi",
    "ren",
    "ta",
    "su",
    "vo",
    "ni",
    "pel",
    "dor",
    "an",
    "shi",
    "gra",
    "ow",
    "tem",
    "ul",
    "ber",
    "ix",
    "fen",
    "cho",
]


def make_words(rng: random.Random) -> list[str]:
    common = [
        "i",
        "the",
        "a",
        "to",
        "and",
        "of",
        "my",
        "was",
        "it",
        "that",
        "in",
        "we",
        "for",
        "you",
        "with",
        "on",
        "had",
        "at",
        "so",
        "but",
        "they",
        "me",
        "be",
        "this",
        "have",
        "not",
    ]
    return common * 12 + ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(4000)]


def make_text(rng: random.Random, words: list[str], chars: float) -> str:
    n = max(1, int(rng.lognormvariate(0, 0.9) * chars / 5.5))
    text = " ".join(rng.choices(words, k=n))
    return text.replace(" ben ", " &amp; ", 1) if rng.random() < 0.1 else text


def draw_submissions(rng: random.Random) -> Iterator[bytes]:
    """Lines with the 80 fields of a monthly dump; one in 15 passes the rules."""
    words = make_words(rng)
    flags = (
        "archived author_cakeday can_gild can_mod_post clicked contest_mode hidden hide_score is_crosspostable is_meta is_self "
    )
    flags += "is_original_content is_reddit_media_domain is_robot_indexable is_video locked media_only no_follow over_18 pinned quarantine saved "
    flags += "send_replies spoiler stickied visited author_premium author_patreon_flair allow_live_comments edited"
    nulls = "approved_at_utc approved_by banned_at_utc banned_by category content_categories discussion_type distinguished likes media "
    nulls += "mod_note mod_reason_by mod_reason_title num_reports removal_reason removed_by removed_by_category report_reasons suggested_sort "
    nulls += "top_awarded_type view_count wls author_flair_text link_flair_css_class secure_media"
    for i in range(BLOCK):
        removed = rng.random() < 0.3
        body = "[removed]" if removed else make_text(rng, words, 500) if rng.random() < 0.6 else ""
        author = "[deleted]" if rng.random() < 0.15 else f"user_{i // 3}_@@REP@"
        name = f"{i:x}@@REP@"
        row: dict[str, Any] = {
            "id": name, "author": author, "title": make_text(rng, words, 60), "selftext": f"{body}" if removed else f"@@REP@ {body}",
            "score": int(rng.paretovariate(0.9)), "num_comments": int(rng.paretovariate(0.8)), "created_utc": 1_600_000_000 + i,
            "subreddit": rng.choice(("askdaily", "smalltown", "worries")), "subreddit_id": "t5_2qh1i", "permalink": f"/r/askdaily/comments/{name}/",
            "url": f"https://www.example.org/r/askdaily/comments/{name}/some_title_of_a_post/", "domain": "self.askdaily", "name": f"t3_{name}",
            "thumbnail": "self", "ups": 1, "downs": 0, "upvote_ratio": 0.97, "subreddit_subscribers": 123456, "author_fullname": "t2_4a7b9c",
            "gildings": {"gid_1": 0, "gid_2": 0}, "all_awardings": [], "awarders": [], "link_flair_richtext": [{"e": "text", "t": "Question"}],
            "media_embed": {}, "retrieved_on": 1_620_000_000, "preview": {"images": [{"source": {"url": "https://preview.example.org/x.jpg?" + "s" * 200,
            "width": 640, "height": 480}, "resolutions": [{"url": "https://preview.example.org/y.jpg?" + "t" * 90, "width": w, "height": w} for w in (108, 216, 320, 640)]}]},
        }  # fmt: skip
        row |= {flag: rng.random() < 0.1 for flag in flags.split()} | dict.fromkeys(nulls.split())
        yield json.dumps(row).encode()


def draw_reviews(rng: random.Random) -> Iterator[bytes]:
    words = make_words(rng)
    for i in range(BLOCK):
        user, item = int(rng.paretovariate(0.6)) % (BLOCK // 3), int(rng.paretovariate(0.5)) % (BLOCK // 5)
        row = {"rating": float(rng.randint(1, 5)), "title": make_text(rng, words, 25), "text": "@@REP@ " + make_text(rng, words, 180), "images": [],
               "asin": f"B0{item:08d}", "parent_asin": f"B0{item:08d}", "user_id": f"AE@@REP@{user:016d}", "timestamp": 1_600_000_000_000 + i * 1000,
               "helpful_vote": 0, "verified_purchase": True}  # fmt: skip
        yield json.dumps(row).encode()


def repeat(block: list[bytes], times: int) -> Iterator[bytes]:
    for n in range(times):
        for line in block:
            yield line.replace(MARK, b"%05x" % n) + b"\n"


def make_lines(path: Path, draw: Callable[[random.Random], Iterator[bytes]], rows: int) -> Path:
    block = list(draw(random.Random(0)))[:rows]
    lines = repeat(block, max(1, rows // BLOCK))
    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=4) as packed:
            packed.writelines(lines)
    elif path.suffix == ".zst":
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=31)
        with path.open("wb") as out, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(out) as packed:
            for line in lines:
                packed.write(line)
    else:
        with path.open("wb") as out:
            out.writelines(lines)
    return path


def make_blogs(folder: Path, posts: int) -> Path:
    rng = random.Random(0)
    words = make_words(rng)
    folder.mkdir()
    for n in range(max(1, posts // POSTS_PER_BLOG)):
        parts = "".join(
            f"\r\n<date>{1 + p % 28:02},May,2004</date>\r\n<post>\r\n\r\n  {make_text(rng, words, 900)}\r\n</post>\r\n"
            for p in range(POSTS_PER_BLOG)
        )
        (folder / f"{1_000_000 + n}.male.25.indUnk.Virgo.xml").write_text(f"<Blog>\r\n{parts}\r\n</Blog>", encoding="utf-8")
    return folder


def make_tweets(path: Path, rows: int) -> Path:
    """One in 20 is as long as the rules ask for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    words = make_words(rng)
    texts = [make_text(rng, words, 400 if i % 10 == 0 else 110) for i in range(min(rows, BLOCK))]
    with pq.ParquetWriter(
        path, pa.schema({"user": pa.string(), "id": pa.int64(), "tweet": pa.string(), "date": pa.string()})
    ) as out:
        for start in range(0, rows, BLOCK):
            ids = range(start, min(start + BLOCK, rows))
            users = [f"user{i // 4}" for i in ids]
            tweets = [f"{i} {text}" for i, text in zip(ids, texts, strict=False)]
            out.write(
                pa.table({"user": users, "id": list(ids), "tweet": tweets, "date": ["2021-02-24T07:21:17+00:00"] * len(ids)})
            )
    return path


def make_pairs(path: Path, pairs: int) -> Path:
    """User and item numbers; few users buy much, few items are bought often, as on Amazon: 10 pairs per user, 12 per item."""
    import duckdb

    users, items = f"(power(random(), 2.5) * {pairs} / 10)::bigint", f"(power(random(), 2.5) * {pairs} / 12)::bigint"
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("select setseed(0.5)").fetchall()
        con.execute(f"copy (select {users} as u, {items} as i from range({pairs})) to '{path}' (format parquet)")
    return path


def make_case(case: str, rows: int, folder: Path) -> Path:
    if case in ("ndjson", "gz", "zst"):
        return make_lines(
            folder / f"posts_{rows}.{'zst' if case == 'zst' else 'ndjson.gz' if case == 'gz' else case}", draw_submissions, rows
        )
    if case == "amazon":
        return make_lines(folder / f"reviews_{rows}.jsonl", draw_reviews, rows)
    if case == "parquet":
        return make_tweets(folder / f"tweets_{rows}.parquet", rows)
    if case == "kcore":
        return make_pairs(folder / f"pairs_{rows}.parquet", rows)
    return make_blogs(folder / f"blogs_{rows}", rows)


# ---- contestants: each returns the number of kept rows ---------------------------------------------------------------


def connect(work: Path) -> Any:
    import duckdb

    con = duckdb.connect(config={"memory_limit": DUCKDB_MEMORY, "temp_directory": str(work / "spill")})
    con.execute("set enable_progress_bar = false")
    return con


def count_kept(con: Any, query: str) -> int:
    return con.execute(f"select count(*) from {query}").fetchall()[0][0]


def run_ours(case: str, path: Path, work: Path) -> int:
    from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
    from humanllm_assets.filtering.verdicts import SliceFilter
    from humanllm_assets.lineage.snapshots import SnapshotWriter
    from humanllm_assets.sources.readers import ReadReport, read_parts
    from humanllm_assets.tables import DROPPED, QUARANTINE, RECORDS
    from resources.thresholds import Thresholds

    source = {"amazon": "amazon", "xml": "blogger", "parquet": "twitter"}.get(case, "reddit")
    thresholds: Any = Thresholds().rules_of(source)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    with connect(work) as con:
        if source == "amazon":
            for _ in read_parts(con, source, "s", files, work, ReadReport()):
                amazon_candidates(con, thresholds, "raw_part")
            amazon_core(con, thresholds)
        rules = SliceFilter(con, source, thresholds, work, "core_verdicts")
        for _ in read_parts(con, source, "s", files, work, ReadReport()):
            rules.take("raw_part")
        rules.gather()
        rules.finish()
        writer = SnapshotWriter(work, {"records": RECORDS, "dropped": DROPPED, "quarantine": QUARANTINE})
        for table, query in (("records", "kept_rows"), ("dropped", "dropped_rows"), ("quarantine", "quarantine")):
            writer.copy(con, table, f"select * from {query}")
        return count_kept(con, "kept_rows")


_AMPERSAND = "trim(replace({}, '&amp;', '&'))"
_FIELDS = {
    "reddit": [
        "id",
        "author",
        "title",
        "selftext",
        "created_utc",
        "score",
        "num_comments",
        "distinguished",
        "removed_by_category",
    ],
    "amazon": ["user_id", "parent_asin", "timestamp", "title", "text", "rating"],
}
_COLUMNS = {
    "reddit": f"""'reddit:t3_' || id as record_id, 'reddit/' || author as user_id, title, score::bigint as score, distinguished,
        make_timestamp(created_utc::bigint * 1000000) as created_at, num_comments::bigint as num_comments,
        selftext in ('[removed]', '[deleted]') as removed, removed_by_category is not null as withdrawn, rtrim({_AMPERSAND.format("title")} || chr(10) || chr(10)
        || if(selftext in ('[removed]', '[deleted]'), '', {_AMPERSAND.format("selftext")}), chr(10)) as text""",
    "amazon": f"""'amazon:' || user_id || ':' || parent_asin as record_id, 'amazon/' || user_id as user_id, parent_asin as item_id, title,
        make_timestamp("timestamp"::bigint * 1000) as created_at, {_AMPERSAND.format("text")} as text, rating::double as rating""",
}


def run_duckdb(case: str, path: Path, work: Path) -> int:
    """One query with the same conditions; Amazon's k-core takes one more for every round."""
    from humanllm_assets.filtering.rule import row_rules
    from resources.thresholds import Thresholds

    source = "amazon" if case == "amazon" else "reddit"
    rules: Any = Thresholds().rules_of(source)
    passes = " and ".join(f"not coalesce(({rule.fails}), true)" for rule in row_rules(source, rules))
    fields = ", ".join(f"{name}: 'VARCHAR'" for name in _FIELDS[source])
    rows = f"read_json('{path}', format = 'newline_delimited', columns = {{{fields}}})"
    passed = f"(select *, length(text) as n_chars from (select {_COLUMNS[source]} from {rows}))"
    key = "user_id, item_id" if source == "amazon" else "record_id"
    left = f"""(select * from (select * from {passed} where {passes} qualify row_number() over (partition by {key} order by created_at) = 1)
               qualify row_number() over (partition by user_id, md5(text) order by created_at) = 1)"""
    with connect(work) as con:
        if source == "amazon":
            con.execute(f"create temp table core as select * from {left}")
            left, n, before = "core", count_kept(con, "core"), -1
            while n != before:
                for column, least in (("user_id", rules.min_user_purchases), ("item_id", rules.min_item_purchases)):
                    enough = f"select {column} from core group by 1 having count(*) >= {least}"
                    con.execute(f"create or replace temp table core as select * from core semi join ({enough}) using ({column})")
                before, n = n, count_kept(con, "core")
        kept = work / "kept.parquet"
        con.execute(f"copy (select * from {left} order by record_id) to '{kept}' (format parquet, compression zstd)")
        return count_kept(con, f"'{kept}'")


def run_kcore(case: str, path: Path, work: Path) -> int:
    from humanllm_assets.filtering.rules.amazon import k_core

    with connect(work) as con:
        con.execute(f"create view pairs as from '{path}'")
        k_core(con, 8, 3)
        return count_kept(con, "core_pairs")


_BOT = re.compile(r"\bi('| a)m a bot\b|this action was performed automatically|\bbeep boop\b", re.IGNORECASE)


def passes_in_python(row: Mapping[Any, Any], text: str) -> bool:
    """The conditions that drop any of the invented submissions."""
    removed = row["selftext"] in ("[removed]", "[deleted]")
    popular = int(row["score"]) >= 2 and int(row["num_comments"]) >= 2
    return popular and not removed and row["author"] != "[deleted]" and len(text) >= 300 and not _BOT.search(text)


def run_polars(case: str, path: Path, work: Path) -> int:
    import polars as pl  # type: ignore[import-not-found]

    names = _FIELDS["reddit"]
    schema = {n: pl.Int64 if n in ("created_utc", "score", "num_comments") else pl.String for n in names}
    text = (
        pl.col("title").str.replace_all("&amp;", "&", literal=True)
        + "\n\n"
        + pl.col("selftext").str.replace_all("&amp;", "&", literal=True)
    )
    rows = pl.scan_ndjson(path, schema=schema, ignore_errors=True).with_columns(text=text.str.strip_chars())
    popular = (pl.col("score") >= 2) & (pl.col("num_comments") >= 2) & ~pl.col("selftext").is_in(["[removed]", "[deleted]"])
    left = rows.filter(popular & (pl.col("author") != "[deleted]") & (pl.col("text").str.len_chars() >= 300))
    left = left.filter(~pl.col("text").str.contains("(?i)" + _BOT.pattern)).unique("id").unique(["author", "text"])
    left.sort("id").sink_parquet(work / "kept.parquet")
    return pl.scan_parquet(work / "kept.parquet").select(pl.len()).collect().item()


def run_pandas(case: str, path: Path, work: Path) -> int:
    import pandas as pd

    parts = []
    for part in pd.read_json(path, lines=True, chunksize=20_000, dtype=False):
        part = part[_FIELDS["reddit"]]
        text = (part["title"] + "\n\n" + part["selftext"]).str.replace("&amp;", "&", regex=False).str.strip()
        passed = [passes_in_python(row, t) for row, t in zip(part.to_dict("records"), text, strict=True)]
        parts.append(part.assign(text=text)[passed])
    left = pd.concat(parts).drop_duplicates("id").drop_duplicates(["author", "text"]).sort_values("id")
    left.to_parquet(work / "kept.parquet")
    return len(left)


def run_datatrove(case: str, path: Path, work: Path) -> int:
    """Filters alone: its duplicates take further pipelines."""
    from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
    from datatrove.pipeline.filters import LambdaFilter  # type: ignore[import-not-found]
    from datatrove.pipeline.readers import JsonlReader  # type: ignore[import-not-found]
    from datatrove.pipeline.writers import ParquetWriter  # type: ignore[import-not-found]

    def adapt(self: Any, row: dict[str, Any], source: str, number: int | str) -> dict[str, Any]:
        text = (row["title"] + "\n\n" + row["selftext"]).replace("&amp;", "&").strip()
        return {"text": text or "-", "id": row["id"], "metadata": {n: row[n] for n in _FIELDS["reddit"]}}

    reader = JsonlReader(str(path.parent), glob_pattern=path.name, adapter=adapt)
    keep = LambdaFilter(lambda document: passes_in_python(document.metadata, document.text))
    writer = ParquetWriter(str(work / "kept"))
    LocalPipelineExecutor([reader, keep, writer], tasks=1, logging_dir=str(work / "logs")).run()
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(f).num_rows for f in (work / "kept").glob("*.parquet"))


CONTESTANTS = {
    "ours": run_ours, "duckdb": run_duckdb, "polars": run_polars, "pandas": run_pandas, "datatrove": run_datatrove, "kcore": run_kcore,
}  # fmt: skip
_IMPORTS = {
    "ours": "humanllm_assets.filtering.verdicts", "duckdb": "humanllm_assets.filtering.rule", "kcore": "humanllm_assets.filtering.rules.amazon",
    "polars": "polars", "pandas": "pandas", "datatrove": "datatrove.executor",
}  # fmt: skip


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def work_once(who: str, case: str, path: Path, work: Path) -> None:
    """In a process of its own: prints what one run cost after its imports."""
    importlib.import_module(_IMPORTS[who])
    cpu, wall = cpu_seconds(), time.perf_counter()
    kept = CONTESTANTS[who](case, path, work)
    print(json.dumps({"kept": kept, "cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}))


# ---- measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Cost:
    """What the best of several runs cost. `memory`: peak of the process tree, bytes; `disk`: peak of its work folder, bytes."""

    who: str
    case: str
    rows: int
    kept: int
    cpu: float
    wall: float
    memory: int
    disk: int

    @property
    def speed(self) -> float:
        return self.rows / self.cpu


def measure_tree(pid: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def measure_folder(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def run_process(python: str, who: str, case: str, rows: int, path: Path) -> Cost:
    """Raises RuntimeError with what the process said when it failed."""
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        command = [python, __file__, "--worker", who, "--cases", case, "--folder", work, "--file", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        memory = disk = 0
        while process.poll() is None:
            memory, disk = max(memory, measure_tree(process.pid)), max(disk, measure_folder(Path(work)))
            time.sleep(0.05)
        out, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{who} on {case} failed: {err.strip().splitlines()[-1] if err.strip() else process.returncode}")
        found = json.loads(out.splitlines()[-1])
    return Cost(who, case, rows, found["kept"], found["cpu"], found["wall"], memory, disk)


def best_of(runs: Sequence[Cost]) -> Cost:
    return min(runs, key=lambda cost: cost.cpu)


def show(cost: Cost, baseline: float | None) -> str:
    ratio = f"{cost.speed / baseline:.2f}" if baseline else "-"
    return _LINE.format(
        case=cost.case, rows=f"{cost.rows:,}", who=cost.who, kept=f"{cost.kept:,}", cpu=f"{cost.cpu:.2f}s", wall=f"{cost.wall:.2f}s",
        speed=f"{cost.speed:,.0f}", ratio=ratio, memory=f"{cost.memory / 1e6:,.0f} MB", disk=f"{cost.disk / 1e6:,.0f} MB",
    )  # fmt: skip


def contestants_of(case: str, peers: Sequence[str]) -> list[str]:
    if case == "kcore":
        return ["kcore"]
    if case in ("zst", "parquet", "xml"):
        return ["ours"]
    return ["ours", "duckdb", *(peers if case == "ndjson" else [])]


def measure_all(arguments: argparse.Namespace, folder: Path) -> list[Cost]:
    """Prints a line for every cost as soon as it is known."""
    print(_LINE.format(case="case", rows="rows", who="who", kept="kept", cpu="CPU", wall="wall", speed="rows/CPU-s", ratio="ratio", memory="memory", disk="disk"))  # fmt: skip
    found: list[Cost] = []
    for scale in arguments.scale:
        lines = 0.0  # bare DuckDB's rows per CPU-second on these rows as plain lines
        for case in arguments.cases:
            sizes = arguments.pairs if case == "kcore" else [arguments.rows * scale]
            for size in sizes if case != "kcore" or scale == arguments.scale[0] else []:
                path = make_case(case, size, folder)
                runs: dict[str, list[Cost]] = {}
                for _ in range(arguments.rounds if size < 10_000_000 else 1):
                    for who in contestants_of(case, arguments.peers):
                        python = arguments.python if who in PEERS and arguments.python else sys.executable
                        runs.setdefault(who, []).append(run_process(python, who, case, size, path))
                best = {who: best_of(costs) for who, costs in runs.items()}
                if case == "ndjson":
                    lines = best["duckdb"].speed
                baseline = best["duckdb"].speed if case == "amazon" else lines if case in ("ndjson", "gz", "zst") else None
                for cost in best.values():
                    print(show(cost, baseline), flush=True)
                found += best.values()
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def fit(costs: Sequence[Cost], value: Callable[[Cost], float], rows: int) -> float:
    """A value at another number of rows, by the straight line through the measured ones; the mean per row where there is one size."""
    xs, ys = [cost.rows for cost in costs], [value(cost) for cost in costs]
    if len({*xs}) < 2:
        return ys[0] / xs[0] * rows
    slope, start = statistics.linear_regression(xs, ys)
    return start + slope * rows


def print_paper(found: Sequence[Cost]) -> None:
    """What the paper's raw texts would take. Memory does not grow with rows but for the k-core, which keeps to its limit."""
    print("\nthe paper's raw texts, from the sizes above:")
    print(f"{'case':<8}{'rows':>13}{'CPU hours':>11}{'hours here':>12}{'memory':>10}{'disk':>10}  measured at")
    hours = [0.0, 0.0]
    for case, rows in PAPER.items():
        costs = [cost for cost in found if cost.case == case and cost.who in ("ours", "kcore")]
        if costs:
            cpu, wall = (fit(costs, value, rows) / 3600 for value in (lambda c: c.cpu, lambda c: c.wall))
            hours = [hours[0] + cpu, hours[1] + wall]
            memory, disk = max(cost.memory for cost in costs), fit(costs, lambda c: c.disk, rows)
            sizes = ", ".join(f"{cost.rows:,}" for cost in costs)
            print(f"{case:<8}{rows:>13,}{cpu:>11.2f}{wall:>12.2f}{memory / 1e9:>7.2f} GB{max(disk, 0) / 1e9:>7.1f} GB  {sizes}")
    print(f"{'all':<8}{'':>13}{hours[0]:>11.2f}{hours[1]:>12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reading and filtering.")
    numbers = lambda text: [int(n) for n in text.split(",")]  # noqa: E731
    parser.add_argument("--rows", type=int, default=100_000, help="rows at scale 1")
    parser.add_argument("--scale", type=numbers, default=[1], help="multiples of --rows")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--pairs", type=numbers, default=[1_000_000], help="sizes of the k-core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[], help=", ".join(PEERS))
    parser.add_argument("--python", help="interpreter of an environment that has the peers")
    parser.add_argument("--paper", action="store_true", help="what the paper's 707M raw texts would take")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--worker", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work_once(arguments.worker, arguments.cases[0], arguments.file, arguments.folder)
        return
    if unknown := sorted({*arguments.cases} - {*CASES} | {*arguments.peers} - {*PEERS}):
        parser.error(f"unknown: {', '.join(unknown)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="filtering-") as folder:
        found = measure_all(arguments, Path(folder))
    if arguments.paper:
        print_paper(found)


if __name__ == "__main__":
    main()
