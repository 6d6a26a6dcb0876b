"""What the sources' texts and times mean: the SQL macros that the shapes of all sources are written with.

They run over hundreds of millions of rows of which few need more than a look, so a cheap question guards each costly function.
RE2 knows no look-around, and its `\\s` and `\\b` are ASCII.

What belongs here: characters, entities, times. What does not: what one source alone writes (the module of its name).
"""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import TYPE_CHECKING, Any

from humanllm_assets.sql import literal

if TYPE_CHECKING:
    import duckdb

# ---- characters ------------------------------------------------------------------------------------------------------

# What no writer means: control characters of ASCII but tab and line ends, and marks that only hide something between two letters.
_NOISE = r"[\x00-\x08\x0e-\x1f\x7f\x{200b}\x{2060}-\x{2064}\x{feff}]"
_BLANKS = " \t\n\v\f\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

# ---- times -----------------------------------------------------------------------------------------------------------

_DAY = "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_ZONE = "(Z|z|UTC|GMT|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
_TWITTERS_OWN = "%a %b %d %H:%M:%S %z %Y"  # Wed Oct 10 20:19:24 +0000 2018


# Of a macro's argument each use is a copy: nested macros take columns, or use their argument once.
_MACROS = f"""
CREATE OR REPLACE TEMP MACRO unescaped(x) AS
    CASE WHEN contains(x, '&') AND regexp_matches(x, '&(#|[A-Za-z])[A-Za-z0-9]*;') THEN unescape_entities(x) ELSE x END;
CREATE OR REPLACE TEMP MACRO trimmed(x) AS  -- trimming walks through the whole text, which costs more than all else
    CASE WHEN contains({literal(_BLANKS)}, x[1]) OR contains({literal(_BLANKS)}, x[-1]) THEN trim(x, {literal(_BLANKS)}) ELSE x END;
CREATE OR REPLACE TEMP MACRO mended_text(x) AS
    trimmed(regexp_replace(
        replace(replace(unescaped(x), chr(13) || chr(10), chr(10)), chr(13), chr(10)), {literal(_NOISE)}, '', 'g'));
CREATE OR REPLACE TEMP MACRO clean_text(x) AS  -- one search finds what needs mending
    CASE WHEN regexp_matches(x, {literal("[&" + chr(92) + "r" + _NOISE[1:])}) THEN mended_text(x) ELSE trimmed(x) END;
CREATE OR REPLACE TEMP MACRO is_page_script(x) AS  -- what a crawler took for an item's title or description
    regexp_matches(x, '(?i)\\bgetTime\\b|\\bfunction ?\\([^)]*\\) ?\\{{|(^|[;\\s])var [a-z_$]+ ?=|\\{{\\s*[a-z-]+ ?:[^{{}}]*;');
CREATE OR REPLACE TEMP MACRO plain_text(x) AS  -- of item metadata: a string or a JSON list of strings, tags taken out
    CASE WHEN (contains(x, '(') OR contains(x, '{{')) AND is_page_script(x) THEN NULL ELSE nullif(trim(regexp_replace(
        regexp_replace(mended_text(
            CASE WHEN x LIKE '[%' AND json_valid(x) THEN array_to_string(from_json(x, '["VARCHAR"]'), ' ') ELSE x END),
            '<(/?[a-zA-Z]|!--)[^<>]*>', ' ', 'g'), '[\\s\\x{{85}}\\p{{Z}}]+', ' ', 'g')), '') END;
CREATE OR REPLACE TEMP MACRO unix_time(x) AS  -- seconds or milliseconds since 1970, as any kind of number or string, or 2020-01-31T12:00:00Z; UTC
    CASE WHEN contains(x, 'T') AND regexp_full_match(x, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\\.[0-9]+)?Z')
    THEN TRY_CAST(rtrim(x, 'Z') AS TIMESTAMP) ELSE make_timestamp(CAST(TRY_CAST(x AS DOUBLE) * CASE
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1 AND 4102444800 THEN 1e6
        WHEN TRY_CAST(x AS DOUBLE) BETWEEN 1e11 AND 4102444800000 THEN 1e3 END AS BIGINT)) END;
CREATE OR REPLACE TEMP MACRO utc_time(x) AS  -- only whole known forms: a cast alone leaves out what it does not understand
    CASE WHEN regexp_full_match(x, '{_DAY}([ T]{_TIME})?') THEN TRY_CAST(x AS TIMESTAMP)
        WHEN regexp_full_match(x, '{_DAY}[ T]{_TIME} ?{_ZONE}') THEN make_timestamp(epoch_us(TRY_CAST(
            regexp_replace(regexp_replace(x, ' ?(Z|z|UTC|GMT)$', '+00'), ' ([+-])', '\\1') AS TIMESTAMPTZ)))
        WHEN regexp_full_match(x, '[A-Z][a-z][a-z] [A-Z][a-z][a-z] [0-9]{{2}} [0-9:]{{8}} [+-][0-9]{{4}} [0-9]{{4}}')
            THEN make_timestamp(epoch_us(try_strptime(x, '{_TWITTERS_OWN}')))
        WHEN regexp_full_match(x, '[0-9]{{10}}(\\.[0-9]+)?|[0-9]{{13}}') THEN unix_time(x) END;
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


# ---- entities --------------------------------------------------------------------------------------------------------

_ENTITY = re.compile(r"&(?:#0*(?P<decimal>\d+)|#[xX]0*(?P<hex>[0-9a-fA-F]+)|(?P<name>[A-Za-z][A-Za-z0-9]*));")
_LONGEST_NUMBER = 7  # digits of the last character, U+10FFFF


def unescape_entities(text: str) -> str:
    """Replace HTML entities, twice at most: Pushshift escapes a markdown text that may hold entities itself (`&amp;#x200B;`).

    An entity is a whole known name or a number, with its semicolon: `&notit;` stays as it is, though a browser would read
    `&not` in it. A number that is no character becomes U+FFFD or, where HTML knows it as a control character, nothing.
    """
    for _ in range(2):
        text = _ENTITY.sub(_read_entity, text)
    return text


def _read_entity(match: re.Match[str]) -> str:
    if match["name"]:
        return html5.get(f"{match['name']};", match[0])
    if len(match["decimal"] or match["hex"]) > _LONGEST_NUMBER:  # int() refuses thousands of digits
        return "\ufffd"
    return html.unescape(f"&#{match['decimal']};" if match["decimal"] else f"&#x{match['hex']};")
