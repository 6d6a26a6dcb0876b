"""From the sources' official files to one table of records: `read_records` (requirements S1-S5).

Reading happens in DuckDB, file by file and, for lines of JSON, in bounded chunks, so that memory does not grow with the data.
No row is lost: `rows_read == count(raw_records) + count(quarantine)`. What DuckDB's JSON reader cannot take (lone surrogates,
broken lines) it would turn into NULL rows without a word; those lines go through Python's `json`, and what still fails is
quarantined with file, line, reason and text.

What belongs here: the SQL that turns each layout's fields into the columns of `RAW_COLUMNS`. What does not: dropping records
(`filtering/rules.py`), bytes (`files.py`), layouts (`layouts.py`).
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from humanllm_assets.sources import blogs, files
from humanllm_assets.sources.files import FileInfo, SourceError, find_files, fingerprint
from humanllm_assets.sources.layouts import CONTEXT_OF, Family, detect_family, detect_layout

__all__ = [
    "CONTEXT_OF",
    "RAW_COLUMNS",
    "RECORD_COLUMNS",
    "FileInfo",
    "ReadReport",
    "SourceError",
    "detect_layout",
    "find_files",
    "fingerprint",
    "read_records",
]

RECORD_COLUMNS = {
    "record_id": "VARCHAR",
    "source": "VARCHAR",
    "slice": "VARCHAR",
    "user_id": "VARCHAR",
    "created_at": "TIMESTAMP",
    "title": "VARCHAR",
    "text": "VARCHAR",
    "n_chars": "INTEGER",
    "context_id": "VARCHAR",
    "context_title": "VARCHAR",
    "context_text": "VARCHAR",
    "rating": "DOUBLE",
}
# What only the rules need. `row_no` orders the slice's rows over all its files and is unique in the slice; it comes from the
# files' order and line numbers, so reading the same files again gives the same numbers.
RULE_COLUMNS = {
    "file": "VARCHAR",
    "line": "BIGINT",
    "row_no": "BIGINT",
    "text_key": "UBIGINT",
    "score": "BIGINT",
    "num_comments": "BIGINT",
    "distinguished": "VARCHAR",
    "removed": "BOOLEAN",
    "age": "INTEGER",
    "context_user_id": "VARCHAR",  # who wrote the context, where the file says so
}
RAW_COLUMNS = RECORD_COLUMNS | RULE_COLUMNS

CHUNK_BYTES = 64 << 20
BATCH_ROWS = 20_000
RAW_CHARS = 500  # of a quarantined row
CONTEXT_CHARS = 500  # of an item's description

_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")


@dataclass
class ReadReport:
    """What was read: `rows_read` = rows of `raw_records` + `unreadable` (rows of `quarantine`).

    `layouts`: layout by file name, context files included. `context_rows`: posts or items found for the records;
    `context_unreadable`: rows of context files that could not be read (they are no records, so they are not in `rows_read`).
    """

    rows_read: int = 0
    unreadable: int = 0
    layouts: dict[str, str] = field(default_factory=dict)
    context_rows: int = 0
    context_unreadable: int = 0


@dataclass(frozen=True)
class Shape:
    """How one family's fields become columns. `problem` is SQL that says why a row cannot be used, or NULL.

    `key` is a field that a readable row nearly always has: a row without it is read again by Python.
    """

    key: str
    problem: str
    columns: dict[str, str]


_REDDIT_TEXT = "CASE WHEN trim(coalesce({0}, '')) IN ('[removed]', '[deleted]') THEN '' ELSE coalesce(clean_text({0}), '') END"
_REDDIT_REMOVED = "trim(coalesce({0}, '')) IN ('[removed]', '[deleted]')"
_AUTHOR = "'reddit/' || coalesce(nullif(trim(author), ''), '[deleted]')"
_POST = {
    "record_id": "'reddit:t3_' || regexp_replace(id, '^t3_', '')",
    "user_id": _AUTHOR,
    "created_at": "unix_time(created_utc)",
    "title": "clean_text(title)",
    "text": f"rtrim(coalesce(clean_text(title), '') || chr(10) || chr(10) || {_REDDIT_TEXT.format('selftext')}, chr(10))",
    "score": "TRY_CAST(TRY_CAST(score AS DOUBLE) AS BIGINT)",
    "num_comments": "TRY_CAST(TRY_CAST(num_comments AS DOUBLE) AS BIGINT)",
    "distinguished": "distinguished",
    "removed": _REDDIT_REMOVED.format("selftext"),
}
_COMMENT = {
    "record_id": "'reddit_comments:t1_' || regexp_replace(id, '^t1_', '')",
    "user_id": _AUTHOR,
    "created_at": "unix_time(created_utc)",
    "text": _REDDIT_TEXT.format("body"),
    "context_id": "'reddit:t3_' || regexp_replace(link_id, '^t3_', '')",
    "score": _POST["score"],
    "distinguished": "distinguished",
    "removed": _REDDIT_REMOVED.format("body"),
}
_TWEET = {
    # Ids that a spreadsheet rounded (1.76555E+18, or digits that end in nine zeros) name no tweet any more.
    "record_id": """CASE
        WHEN regexp_full_match(id, '[0-9]+') AND NOT (length(id) > 15 AND id LIKE '%000000000') THEN 'twitter:' || id
        ELSE 'twitter:h' || left(sha256("user" || '|' || strftime(utc_time(date), '%Y-%m-%dT%H:%M:%S') || '|'
            || coalesce(clean_text(tweet), '')), 16) END""",
    "user_id": "'twitter/' || \"user\"",
    "created_at": "utc_time(date)",
    "text": "coalesce(clean_text(tweet), '')",
}
_BLOG = {
    "record_id": "'blogger:' || id || ':' || left(sha256(date || '|' || coalesce(clean_text(text), '')), 12)",
    "user_id": "'blogger/' || id",
    "created_at": "TRY_CAST(try_strptime(date, '%d,%B,%Y') AS TIMESTAMP)",
    "text": "coalesce(clean_text(text), '')",
    "age": "TRY_CAST(age AS INTEGER)",
}
_ITEM_2023 = "coalesce(nullif(parent_asin, ''), asin)"


def _review(user: str, item: str, time: str, title: str, text: str, rating: str) -> dict[str, str]:
    return {
        "record_id": f"'amazon:' || {user} || ':' || {item}",
        "user_id": f"'amazon/' || {user}",
        "created_at": f"unix_time({time})",
        "title": f"clean_text({title})",
        "text": f"coalesce(clean_text({text}), '')",
        "context_id": item,
        "rating": f"TRY_CAST({rating} AS DOUBLE)",
    }


def _problem(**checks: str) -> str:
    cases = " ".join(f"WHEN {condition} THEN 'no usable {name}'" for name, condition in checks.items())
    return f"CASE {cases} END"


_NO_TIME = "unix_time({0}) IS NULL"
SHAPES: dict[tuple[str, str], Shape] = {
    ("reddit", "pushshift"): Shape("id", _problem(id="id IS NULL", created_utc=_NO_TIME.format("created_utc")), _POST),
    ("reddit_comments", "pushshift"): Shape(
        "id",
        _problem(id="id IS NULL", created_utc=_NO_TIME.format("created_utc"), link_id="link_id IS NULL"),
        _COMMENT,
    ),
    ("twitter", "twitter100m"): Shape("user", _problem(user='"user" IS NULL', date="utc_time(date) IS NULL"), _TWEET),
    ("blogger", "blogtext"): Shape("id", _problem(date="try_strptime(date, '%d,%B,%Y') IS NULL"), _BLOG),
    ("blogger", "blog"): Shape("id", _problem(date="try_strptime(date, '%d,%B,%Y') IS NULL"), _BLOG),
    ("amazon", "amazon-2023"): Shape(
        "user_id",
        _problem(user_id="user_id IS NULL", item=f"{_ITEM_2023} IS NULL", timestamp=_NO_TIME.format('"timestamp"')),
        _review("user_id", _ITEM_2023, '"timestamp"', "title", "text", "rating"),
    ),
    ("amazon", "amazon-2018"): Shape(
        "reviewerID",
        _problem(reviewerID="reviewerID IS NULL", item="asin IS NULL", unixReviewTime=_NO_TIME.format("unixReviewTime")),
        _review("reviewerID", "asin", "unixReviewTime", "summary", "reviewText", "overall"),
    ),
}


def _item(key: str, category: str, description: str) -> Shape:
    columns = {
        "context_id": key,
        "context_title": "plain_text(title)",
        "context_text": f"nullif(left(concat_ws('. ', {category}, {description}), {CONTEXT_CHARS}), '')",
        "context_user_id": "NULL",
    }
    return Shape(key, _problem(id=f"{key} IS NULL"), columns)


_CONTEXT_SHAPES: dict[str, Shape] = {
    "pushshift": Shape(
        "id",
        _problem(id="id IS NULL"),
        {
            "context_id": _POST["record_id"],
            "context_title": "clean_text(title)",
            "context_text": f"nullif({_REDDIT_TEXT.format('selftext')}, '')",
            "context_user_id": _AUTHOR,
        },
    ),
    "amazon-2023-items": _item(
        "parent_asin", "plain_text(main_category)", "coalesce(plain_text(description), plain_text(features))"
    ),
    "amazon-2018-items": _item("asin", "coalesce(plain_text(main_cat), plain_text(category))", "plain_text(description)"),
}

_MACROS = """
CREATE OR REPLACE TEMP MACRO unescaped(x) AS
    CASE WHEN contains(x, '&') AND regexp_matches(x, '&(#|[A-Za-z])[A-Za-z0-9]*;') THEN unescape_entities(x) ELSE x END;
CREATE OR REPLACE TEMP MACRO clean_text(x) AS
    trim(replace(replace(replace(replace(replace(
        unescaped(x), chr(13) || chr(10), chr(10)), chr(13), chr(10)), chr(0), ''), chr(8203), ''), chr(65279), ''),
        ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(160));
CREATE OR REPLACE TEMP MACRO plain_text(x) AS  -- of item metadata: a string or a JSON list of strings, tags taken out
    nullif(clean_text(regexp_replace(regexp_replace(
        CASE WHEN x LIKE '[%' AND json_valid(x) THEN array_to_string(from_json(x, '["VARCHAR"]'), ' ') ELSE x END,
        '<[^>]*>', ' ', 'g'), '\\s+', ' ', 'g')), '');
CREATE OR REPLACE TEMP MACRO utc_time(x) AS  -- a cast to TIMESTAMP alone would leave the offset out without a word
    CASE WHEN regexp_matches(x, ':[0-9.]+ ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$')
         THEN make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ))) ELSE TRY_CAST(x AS TIMESTAMP) END;
CREATE OR REPLACE TEMP MACRO unix_time(x) AS  -- seconds or milliseconds since 1970, as any kind of number or string; UTC
    make_timestamp(CAST(TRY_CAST(x AS DOUBLE) * CASE
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1 AND 4102444800 THEN 1e6
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1e11 AND 4102444800000 THEN 1e3 END AS BIGINT));
"""


def _unescape(texts: Any) -> Any:  # Arrow array in, Arrow array out; DuckDB evaluates annotations: pyarrow is not to be named
    import pyarrow as pa

    return pa.array([None if text is None else unescape_entities(text) for text in texts.to_pylist()], pa.string())


def unescape_entities(text: str) -> str:
    """Replace HTML entities, twice at most: Pushshift escapes a markdown text that may hold entities itself (`&amp;#x200B;`)."""
    for _ in range(2):
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return text


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return con.execute(sql).fetchall()[0][0]  # fetchall, because an open result would block the connection


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _prepare(con: duckdb.DuckDBPyConnection) -> None:
    if not _one(con, "SELECT count(*) FROM duckdb_functions() WHERE function_name = 'unescape_entities'"):
        con.create_function("unescape_entities", _unescape, ["VARCHAR"], "VARCHAR", type="arrow")  # type: ignore[arg-type]
    con.execute(_MACROS)
    con.execute("SET preserve_insertion_order = true")  # line numbers are the rows' positions
    columns = ", ".join(f"{name} {kind}" for name, kind in RAW_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TABLE raw_records ({columns})")
    con.execute("CREATE OR REPLACE TABLE quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")


def read_records(
    con: duckdb.DuckDBPyConnection,
    source: str,
    slice_name: str,
    record_files: Sequence[Path],
    context_files: Sequence[Path],
    workdir: Path,
) -> ReadReport:
    """Read one slice into the tables `raw_records` (columns `RAW_COLUMNS`) and `quarantine` (file, line, reason, raw) of `con`.

    Texts come out with HTML entities unescaped, line ends as `\\n`, zero-width and NUL characters left out, and trimmed;
    `n_chars` counts characters. A reddit text is the title, a blank line and the body; a removed body (`[removed]`,
    `[deleted]`) is left out and flagged in `removed`. Times are UTC. Context (the post a comment answers, the item a review is
    about) is joined by id; a record whose context is not in `context_files` keeps NULLs.

    Args:
        source: reddit, reddit_comments, twitter, blogger or amazon.
        record_files, context_files: as `find_files` gives them; each must be in one of the source's layouts.
        workdir: folder for one temporary chunk file of about 64 MB.

    Raises:
        SourceError: a file is missing, cut off, or in another layout.
    """
    report = ReadReport()
    layouts = {path: _detect(source, path, report) for path in record_files}
    contexts = {path: _detect(CONTEXT_OF[source], path, report) for path in context_files} if source in CONTEXT_OF else {}
    _prepare(con)
    for path, (family, container) in layouts.items():
        shape = SHAPES[source, family.name]
        lines_before = _one(con, "SELECT coalesce(max(row_no), 0) FROM raw_records")
        for _ in _chunks(con, shape, family, container, path, workdir, "quarantine"):
            _insert_records(con, source, slice_name, shape, path, lines_before)
    report.unreadable = _one(con, "SELECT count(*) FROM quarantine")
    report.rows_read = _one(con, "SELECT count(*) FROM raw_records") + report.unreadable
    if source in CONTEXT_OF:
        _join_context(con, contexts, workdir, report)
    con.execute("DROP VIEW IF EXISTS chunk")
    for table in ("parsed", "reread", "blog_rows"):
        con.execute(f"DROP TABLE IF EXISTS {table}")
    return report


def _detect(source: str, path: Path, report: ReadReport) -> tuple[Family, str]:
    family, container = detect_family(source, path)
    report.layouts[path.name] = f"{family.name}-{container}"
    return family, container


def _insert_records(
    con: duckdb.DuckDBPyConnection, source: str, slice_name: str, shape: Shape, path: Path, lines_before: int
) -> None:
    given = {
        **shape.columns,
        "source": _quoted(source),
        "slice": _quoted(slice_name),
        "file": _quoted(path.name),
        "line": "line",
        "row_no": "line",
        "n_chars": "0",
    }
    columns = ", ".join(f"CAST({given.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in RAW_COLUMNS.items())
    con.execute(f"""
        INSERT INTO raw_records
        SELECT * REPLACE (length(text) AS n_chars, md5_number_lower(text) AS text_key, row_no + {lines_before} AS row_no)
        FROM (SELECT {columns} FROM chunk WHERE ({shape.problem}) IS NULL)
    """)


def _chunks(
    con: duckdb.DuckDBPyConnection, shape: Shape, family: Family, container: str, path: Path, workdir: Path, quarantine: str
) -> Iterator[None]:
    """Make the view `chunk` (line, the family's fields as VARCHAR) for one part of the file after another, and put every row
    that cannot be used into the table `quarantine`: unreadable ones, and those that `shape.problem` names."""
    if container == "parquet":
        parts: Iterable[None] = _parquet_chunk(con, family, path)
    elif container.startswith(("csv", "xml")):
        parts = _blog_chunks(con, path, blogs.read_xml(path) if container == "xml" else blogs.read_csv(path), quarantine)
    else:
        parts = _json_chunks(con, family, shape.key, path, workdir, quarantine)
    for _ in parts:
        con.execute(
            f"INSERT INTO {quarantine} SELECT ?, line, {shape.problem}, left(CAST(to_json(chunk) AS VARCHAR), {RAW_CHARS}) "
            f"FROM chunk WHERE ({shape.problem}) IS NOT NULL",
            [path.name],
        )
        yield


def _parquet_chunk(con: duckdb.DuckDBPyConnection, family: Family, path: Path) -> Iterator[None]:
    scan = f"read_parquet({_quoted(str(path))}, file_row_number = true)"
    found = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    fields = ", ".join(f"CAST({_name(f) if f in found else 'NULL'} AS VARCHAR) AS {_name(f)}" for f in family.fields)
    con.execute(f"CREATE OR REPLACE TEMP VIEW chunk AS SELECT file_row_number + 1 AS line, {fields} FROM {scan}")
    yield


def _name(column: str) -> str:
    return f'"{column}"'


def _blog_chunks(con: duckdb.DuckDBPyConnection, path: Path, rows: Iterator[blogs.BlogRow], quarantine: str) -> Iterator[None]:
    for batch in _batches(rows):
        broken = [(path.name, row.line, row.problem, (row.raw or "")[:RAW_CHARS]) for row in batch if row.problem]
        if broken:
            con.executemany(f"INSERT INTO {quarantine} VALUES (?, ?, ?, ?)", broken)
        names = ("id", "age", "date", "text")
        good = [{"line": row.line} | {name: getattr(row, name) for name in names} for row in batch if not row.problem]
        _load_rows(con, "blog_rows", good, names)
        con.execute("CREATE OR REPLACE TEMP VIEW chunk AS SELECT * FROM blog_rows")
        yield


def _batches(rows: Iterator[blogs.BlogRow]) -> Iterator[list[blogs.BlogRow]]:
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield batch


def _load_rows(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], fields: Sequence[str]) -> None:
    """Replace the temporary `table` by these rows: `line` and the given fields as VARCHAR."""
    import pyarrow as pa

    schema = pa.schema([("line", pa.int64()), *((name, pa.string()) for name in fields)])
    con.register("rows_to_load", pa.Table.from_pylist(rows, schema=schema))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM rows_to_load")
    con.unregister("rows_to_load")


def _json_chunks(
    con: duckdb.DuckDBPyConnection, family: Family, key: str, path: Path, workdir: Path, quarantine: str
) -> Iterator[None]:
    names = ", ".join(_name(f) for f in family.fields)
    columns = ", ".join(f"{_quoted(f)}: 'VARCHAR'" for f in family.fields)
    for part in files.chunks(path, workdir, CHUNK_BYTES):
        again = _read_again_everything(part)
        if _parse_json(con, part, columns):
            # one row per line: a row without its key is a line that DuckDB could not take
            rejected = con.execute(f"SELECT rowid FROM parsed WHERE {_name(key)} IS NULL").fetchall()
            again = {row[0] for row in rejected}
            con.execute(f"DELETE FROM parsed WHERE {_name(key)} IS NULL")
        else:
            con.execute("DELETE FROM parsed")
        _read_again(con, part, again, family, path, quarantine)
        con.execute(
            "CREATE OR REPLACE TEMP VIEW chunk AS "
            f"SELECT rowid + {part.first_line} AS line, {names} FROM parsed UNION ALL SELECT line, {names} FROM reread"
        )
        yield


def _read_again_everything(part: files.Chunk) -> set[int]:
    return set(range(part.rows))


def _parse_json(con: duckdb.DuckDBPyConnection, part: files.Chunk, columns: str) -> bool:
    """Load a chunk into the table `parsed`; False when its rows do not stand for its lines one by one (blank or giant lines)."""
    scan = f"read_json({_quoted(str(part.path))}, format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true)"
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE parsed AS SELECT * FROM {scan}")
    except duckdb.InvalidInputException:
        con.execute(f"CREATE OR REPLACE TEMP TABLE parsed AS SELECT * FROM {scan} LIMIT 0")
        return False
    return _one(con, "SELECT count(*) FROM parsed") == part.rows


def _read_again(
    con: duckdb.DuckDBPyConnection, part: files.Chunk, positions: set[int], family: Family, path: Path, quarantine: str
) -> None:
    """Read the lines at these positions (0-based, in the chunk) with Python's json: into `reread`, or quarantined."""
    good: list[dict[str, Any]] = []
    broken: list[tuple[str, int, str, str]] = []
    if positions:
        for position, line in enumerate(files.lines(part.path)):
            if position not in positions or not line.strip():
                continue
            number = part.first_line + position
            row, problem = _parse_line(line)
            if row is None:
                broken.append((path.name, number, problem, line.decode("utf-8", "replace")[:RAW_CHARS]))
            else:
                good.append({"line": number} | {name: _as_text(row.get(name)) for name in family.fields})
    if broken:
        con.executemany(f"INSERT INTO {quarantine} VALUES (?, ?, ?, ?)", broken)
    _load_rows(con, "reread", good, family.fields)


def _parse_line(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except (json.JSONDecodeError, RecursionError) as e:
        return None, f"not JSON: {e}"
    return (row, "") if isinstance(row, dict) else (None, "not a JSON object")


def _as_text(value: Any) -> str | None:
    """As DuckDB reads a JSON value into VARCHAR; a lone surrogate, which no UTF-8 text can hold, becomes U+FFFD."""
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _join_context(
    con: duckdb.DuckDBPyConnection, contexts: dict[Path, tuple[Family, str]], workdir: Path, report: ReadReport
) -> None:
    """Fill `context_title`, `context_text` and `context_user_id` from the context files; of several rows with one id the first is taken."""
    con.execute("CREATE OR REPLACE TEMP TABLE wanted AS SELECT DISTINCT context_id FROM raw_records")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE context
        (context_id VARCHAR, context_title VARCHAR, context_text VARCHAR, context_user_id VARCHAR, file_no INTEGER, line BIGINT)
    """)
    con.execute("CREATE OR REPLACE TEMP TABLE context_quarantine (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")
    for file_no, (path, (family, container)) in enumerate(contexts.items()):
        shape = _CONTEXT_SHAPES[family.name]
        columns = ", ".join(f"{sql} AS {name}" for name, sql in shape.columns.items())
        for _ in _chunks(con, shape, family, container, path, workdir, "context_quarantine"):
            con.execute(
                f"INSERT INTO context SELECT context_id, context_title, context_text, context_user_id, {file_no}, line "
                f"FROM (SELECT {columns}, line FROM chunk WHERE ({shape.problem}) IS NULL) SEMI JOIN wanted USING (context_id)"
            )
    con.execute("""
        CREATE OR REPLACE TEMP TABLE context AS SELECT context_id, context_title, context_text, context_user_id FROM context
        QUALIFY row_number() OVER (PARTITION BY context_id ORDER BY file_no, line) = 1
    """)
    report.context_rows = _one(con, "SELECT count(*) FROM context")
    report.context_unreadable = _one(con, "SELECT count(*) FROM context_quarantine")
    con.execute("""
        CREATE OR REPLACE TABLE raw_records AS
        SELECT r.* REPLACE (
            c.context_title AS context_title, c.context_text AS context_text, c.context_user_id AS context_user_id)
        FROM raw_records r LEFT JOIN context c USING (context_id)
    """)
    for table in ("wanted", "context", "context_quarantine"):
        con.execute(f"DROP TABLE {table}")
