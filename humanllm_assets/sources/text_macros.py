"""What the sources' texts and times mean: the SQL macros that the shapes of all sources are written with."""

from __future__ import annotations

import html
import re
from typing import Any

import duckdb

_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")

_MACROS = r"""
CREATE OR REPLACE TEMP MACRO unescaped(x) AS
    CASE WHEN contains(x, '&') AND regexp_matches(x, '&(#|[A-Za-z])[A-Za-z0-9]*;') THEN unescape_entities(x) ELSE x END;
CREATE OR REPLACE TEMP MACRO trimmed(x, characters) AS  -- ten times as fast as trim
    regexp_replace(regexp_replace(x, '^[' || characters || ']+', ''), '[' || characters || ']+$', '');
CREATE OR REPLACE TEMP MACRO is_plain(x) AS  -- ASCII without anything that could have to be replaced
    strlen(x) = length(x) AND NOT contains(x, '&') AND NOT contains(x, chr(13)) AND NOT contains(x, chr(0));
CREATE OR REPLACE TEMP MACRO clean_text(x) AS trimmed(
    CASE WHEN is_plain(x) THEN x ELSE
        replace(replace(replace(replace(replace(
            unescaped(x), chr(13) || chr(10), chr(10)), chr(13), chr(10)), chr(0), ''), chr(8203), ''), chr(65279), '')
    END, ' \t\n\v\f\x{a0}');
CREATE OR REPLACE TEMP MACRO plain_text(x) AS  -- of item metadata: a string or a JSON list of strings, tags taken out
    nullif(clean_text(regexp_replace(regexp_replace(
        CASE WHEN x LIKE '[%' AND json_valid(x) THEN array_to_string(from_json(x, '["VARCHAR"]'), ' ') ELSE x END,
        '<[^>]*>', ' ', 'g'), '\s+', ' ', 'g')), '');
CREATE OR REPLACE TEMP MACRO utc_time(x) AS  -- a cast to TIMESTAMP alone would leave the offset out without a word
    CASE WHEN regexp_matches(x, ':[0-9.]+ ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$')
         THEN make_timestamp(epoch_us(TRY_CAST(x AS TIMESTAMPTZ))) ELSE TRY_CAST(x AS TIMESTAMP) END;
CREATE OR REPLACE TEMP MACRO unix_time(x) AS  -- seconds or milliseconds since 1970, as any kind of number or string, or 2020-01-31T12:00:00Z; UTC
    CASE WHEN contains(x, 'T') AND regexp_full_match(x, '[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z')
    THEN TRY_CAST(rtrim(x, 'Z') AS TIMESTAMP) ELSE make_timestamp(CAST(TRY_CAST(x AS DOUBLE) * CASE
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1 AND 4102444800 THEN 1e6
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1e11 AND 4102444800000 THEN 1e3 END AS BIGINT)) END;
"""


def create_macros(con: duckdb.DuckDBPyConnection) -> None:
    """Make the macros of this module known to a connection; called again it changes nothing."""
    known = con.execute("SELECT count(*) FROM duckdb_functions() WHERE function_name = 'unescape_entities'").fetchall()[0][0]
    if not known:
        con.create_function("unescape_entities", _unescape, ["VARCHAR"], "VARCHAR", type="arrow")  # type: ignore[arg-type]
    con.execute(_MACROS)


def _unescape(texts: Any) -> Any:  # Arrow array in, Arrow array out; DuckDB evaluates annotations: pyarrow is not to be named
    import pyarrow as pa

    return pa.array([None if text is None else unescape_entities(text) for text in texts.to_pylist()], pa.string())


def unescape_entities(text: str) -> str:
    """Replace HTML entities, twice at most: Pushshift escapes a markdown text that may hold entities itself (`&amp;#x200B;`)."""
    for _ in range(2):
        text = _ENTITY.sub(_unescape_one, text)
    return text


def _unescape_one(match: re.Match[str]) -> str:
    try:
        return html.unescape(match[0])
    except ValueError:  # a number of more digits than Python reads
        return "\ufffd"
