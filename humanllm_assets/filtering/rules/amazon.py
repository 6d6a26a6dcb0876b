"""F4: reviews of users and items that are reviewed often enough, over the whole data set and not per slice.

One review per user and item, one per user and text, then the k-core. The paper leaves this order open; here it is part of the
contract: duplicates never hold up a core. For every slice `read_records` and `amazon_candidates`, which adds to `candidates`; then
`amazon_core` makes `core_verdicts` from it, which `apply_rules` joins to each slice.
"""

from __future__ import annotations

import duckdb

from humanllm_assets.filtering.rule import BY_TEXT, Duplicates, Rule, RuleSet, too_short
from humanllm_assets.filtering.verdicts import drop_duplicates, first_rules
from resources.sources import AmazonRules

_DUPLICATES = (Duplicates("duplicate_user_item", "user_id, item_id"), Duplicates("duplicate_user_text", BY_TEXT.keys))
_OUTSIDE_CORE = "outside_core"


def _list_rules(rules: AmazonRules) -> list[Rule]:
    return [Rule("empty_text", "n_chars = 0"), too_short(rules.min_chars)]


RULES = RuleSet(
    "F4", _list_rules, duplicates=(), core_reasons=(*(duplicates.reason for duplicates in _DUPLICATES), _OUTSIDE_CORE)
)


def amazon_candidates(con: duckdb.DuckDBPyConnection, rules: AmazonRules) -> int:
    """Add the slice in `raw_records` to the table `candidates`: its reviews that pass the row rules, and what the rules over the
    whole data set need of them.

    Columns: slice, row_no (together the row's key), record_id, user_id, item_id, created_at, text_key. Called once per slice on
    one connection; called again for a slice it replaces that slice's rows.

    Returns:
        Their number over all slices so far.
    """
    first_rules(con, "amazon", rules)
    con.execute("""
        CREATE TABLE IF NOT EXISTS candidates (
            slice VARCHAR, row_no BIGINT, record_id VARCHAR, user_id VARCHAR, item_id VARCHAR, created_at TIMESTAMP,
            text_key UBIGINT)
    """)
    con.execute("DELETE FROM candidates WHERE slice IN (SELECT DISTINCT slice FROM raw_records)")
    con.execute("""
        INSERT INTO candidates SELECT slice, row_no, record_id, user_id, context_id AS item_id, created_at, text_key
        FROM raw_records SEMI JOIN (FROM verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    con.execute("DROP TABLE verdicts")
    return con.execute("SELECT count(*) FROM candidates").fetchall()[0][0]


def amazon_core(con: duckdb.DuckDBPyConnection, rules: AmazonRules) -> int:
    """F4 over `candidates` of all slices: duplicates, then the k-core. Makes the table `core_verdicts`.

    `core_verdicts` (slice, row_no, record_id, user_id, reason): one row per candidate; reason NULL = it stays, otherwise
    duplicate_user_item, duplicate_user_text or outside_core.

    Returns:
        Rounds until the k-core was stable.
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE duplicate_verdicts AS
        SELECT slice, row_no, CAST(NULL AS VARCHAR) AS reason FROM candidates
    """)
    for duplicates in _DUPLICATES:
        drop_duplicates(con, "candidates", "duplicate_verdicts", duplicates)
    con.execute("""
        CREATE OR REPLACE TEMP TABLE pairs AS
        SELECT user_id, item_id FROM candidates SEMI JOIN (FROM duplicate_verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    rounds = k_core(con, rules.min_user_purchases, rules.min_item_purchases)
    con.execute(f"""
        CREATE OR REPLACE TABLE core_verdicts AS
        SELECT c.slice, c.row_no, c.record_id, c.user_id,
            coalesce(d.reason, CASE WHEN p.user_id IS NULL THEN '{_OUTSIDE_CORE}' END) AS reason
        FROM candidates c JOIN duplicate_verdicts d USING (slice, row_no)
            LEFT JOIN core_pairs p ON p.user_id = c.user_id AND p.item_id = c.item_id
    """)
    con.execute("DROP TABLE duplicate_verdicts")
    return rounds


def k_core(con: duckdb.DuckDBPyConnection, min_user_purchases: int, min_item_purchases: int) -> int:
    """The largest part of `pairs` (user_id, item_id; each pair once) in which every user and every item has enough pairs.

    Makes the table `core_pairs` (user_id, item_id). Items and users are removed in turns until neither removes anything; the
    result does not depend on the order. Ids are numbered first: joins over strings cost more than twice as much.

    Returns:
        Rounds, the last one, which removes nothing, included.
    """
    for table, column in (("core_users", "user_id"), ("core_items", "item_id")):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS "
            f"SELECT {column}, row_number() OVER () AS number FROM (SELECT DISTINCT {column} FROM pairs)"
        )
    con.execute("""
        CREATE OR REPLACE TEMP TABLE edges AS
        SELECT u.number AS u, i.number AS i FROM pairs JOIN core_users u USING (user_id) JOIN core_items i USING (item_id)
    """)
    rounds, before, left = 0, -1, con.execute("SELECT count(*) FROM edges").fetchall()[0][0]
    while left != before:
        rounds, before = rounds + 1, left
        for column, least in (("i", min_item_purchases), ("u", min_user_purchases)):
            con.execute(f"""
                CREATE OR REPLACE TEMP TABLE edges AS SELECT edges.* FROM edges
                SEMI JOIN (SELECT {column} FROM edges GROUP BY {column} HAVING count(*) >= {least}) USING ({column})
            """)
        left = con.execute("SELECT count(*) FROM edges").fetchall()[0][0]
    con.execute("""
        CREATE OR REPLACE TABLE core_pairs AS
        SELECT user_id, item_id FROM edges JOIN core_users ON core_users.number = u JOIN core_items ON core_items.number = i
    """)
    for table in ("core_users", "core_items", "edges"):
        con.execute(f"DROP TABLE {table}")
    return rounds
