"""F4: reviews of users and items that are reviewed often enough, over the whole data set and not per slice.

One review per user and item, one per user and text, then the k-core. The paper leaves this order open; here it is part of the
contract: duplicates never hold up a core. `amazon_candidates` takes every part of every slice; then `amazon_core` makes
`core_verdicts`, which `SliceFilter` joins to each slice.

All of it is done on numbers: users, items and texts stand for 64 bits of their md5, so that the reviews of the whole data set fit a
fraction of their ids' size, and what does not fit memory goes to the connection's temporary directory. Among 54 million users two
share a number with a chance of 1 in 12,000; their purchases would then count together.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from humanllm_assets.filtering.rule import Duplicates, Rule, RuleSet, row_rules, too_short
from humanllm_assets.filtering.verdicts import fails_first, find_duplicates
from resources.sources import AmazonRules

_BY_ITEM = Duplicates("duplicate_user_item", "u, i")
_BY_TEXT = Duplicates("duplicate_user_text", "u, text_key")
_OUTSIDE_CORE = "outside_core"


def _list_rules(rules: AmazonRules) -> list[Rule]:
    return [Rule("empty_text", "n_chars = 0"), too_short(rules.min_chars)]


RULES = RuleSet("F4", _list_rules, duplicates=(), core_reasons=(_BY_ITEM.reason, _BY_TEXT.reason, _OUTSIDE_CORE))


def amazon_candidates(
    con: duckdb.DuckDBPyConnection, rules: AmazonRules, part: str = "raw_records", selection: Sequence[Rule] = ()
) -> None:
    """Add the reviews of a part that pass the row rules to the table `candidates`, with what the rules over the whole data set need.

    Columns: slice, row_no (together the row's key), u and i (numbers of user and item), created_at, text_key.

    Args:
        part: a relation with the columns `RAW_COLUMNS`; only some of them are read, and none of the context.
        selection: what of the rows belongs to the slice.
    """
    con.execute(
        "CREATE TABLE IF NOT EXISTS candidates (slice VARCHAR, row_no BIGINT, u UBIGINT, i UBIGINT, created_at TIMESTAMP, text_key UBIGINT)"
    )
    con.execute(f"""
        INSERT INTO candidates
        SELECT slice, row_no, md5_number_lower(user_id), md5_number_lower(context_id), created_at, text_key FROM {part}
        WHERE {fails_first([*selection, *row_rules("amazon", rules)])} IS NULL
    """)


def amazon_core(con: duckdb.DuckDBPyConnection, rules: AmazonRules) -> int:
    """F4 over `candidates` of all slices: duplicates, then the k-core. Makes the table `core_verdicts`.

    `core_verdicts` (slice, row_no, reason): the candidates that stay, with reason NULL, and those dropped as duplicate_user_item or
    duplicate_user_text; a candidate that is not in it is outside the core.

    Returns:
        Rounds until the k-core was stable.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE extra (slice VARCHAR, row_no BIGINT, reason VARCHAR)")
    left = "candidates ANTI JOIN extra USING (slice, row_no)"
    for duplicates in (_BY_ITEM, _BY_TEXT):
        con.execute(f"INSERT INTO extra {find_duplicates(left, duplicates, 'slice, row_no')}")
    con.execute(f"CREATE OR REPLACE TEMP VIEW pairs AS SELECT u, i FROM {left}")
    rounds = k_core(con, rules.min_user_purchases, rules.min_item_purchases)
    con.execute(f"""
        CREATE OR REPLACE TABLE core_verdicts AS
        SELECT slice, row_no, CAST(NULL AS VARCHAR) AS reason FROM {left} SEMI JOIN core_pairs USING (u, i)
        UNION ALL FROM extra
    """)
    con.execute("DROP VIEW pairs")
    for table in ("extra", "core_pairs"):
        con.execute(f"DROP TABLE {table}")
    return rounds


def k_core(con: duckdb.DuckDBPyConnection, min_user_purchases: int, min_item_purchases: int) -> int:
    """The largest part of `pairs` (u, i: numbers of users and items; each pair once) in which every user and item has enough pairs.

    Makes the table `core_pairs` (u, i). Users and items are removed in turns until neither removes anything; the result does not
    depend on the order. Users come first, because most of them bought little.

    Returns:
        Rounds, the last one, which removes nothing, included; 2 at least.
    """
    limits = (("u", min_user_purchases), ("i", min_item_purchases))
    source = "pairs"
    for column, least in limits:  # most fall at once
        con.execute(f"""
            CREATE OR REPLACE TABLE core_pairs AS SELECT u, i FROM {source}
            SEMI JOIN (SELECT {column} FROM {source} GROUP BY {column} HAVING count(*) >= {least}) USING ({column})
        """)
        source = "core_pairs"
    rounds, falling = 1, True
    while falling:
        rounds, falling = rounds + 1, False
        for column, least in limits:  # few fall in each further round
            con.execute(f"""
                CREATE OR REPLACE TEMP TABLE few AS SELECT {column} FROM core_pairs GROUP BY {column} HAVING count(*) < {least}
            """)
            if con.execute("SELECT count(*) FROM few").fetchall()[0][0]:
                con.execute(f"CREATE OR REPLACE TABLE core_pairs AS SELECT u, i FROM core_pairs ANTI JOIN few USING ({column})")
                falling = True
    con.execute("DROP TABLE few")
    return rounds
