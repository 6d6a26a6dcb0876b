"""Applying the rule filters F1-F4 (section 2.1): per source one ordered list of reasons with the condition that drops a record.

`apply_rules` splits `raw_records` (see `sources/readers.py`) into `kept` and `dropped`. A dropped record is counted by its
first failing rule, in the order of the source's list; a later rule sees only what the earlier ones left. Three kinds, in order:

1. row rules: look at one record. A condition that a NULL leaves undecided drops the record: an unknown score is not a score
   of at least 2, a comment of an unknown author is not one of a known person.
2. duplicates: of the records that are left and share a key, one stays: the earliest, and of equally early ones the one with
   the smaller text key, then the earlier position in the files. First by id, then by user and text.
3. a core, where the source has one (Amazon): rules over all slices, whose verdicts another asset gives. Then no duplicates are
   looked for within a slice.

Forgotten users (`forgotten`: sha256 of their ids) come before all rules: their records are counted as `forgotten` and leave no row.
In Amazon's core a forgotten
user's purchases still count as numbers: without them other users would lose records, and a takedown would change their personas
and ask a model about them.

What belongs here: what is done with any source's rules. What does not: the rules (`rules/`), thresholds (`resources/sources.py`),
LLM labels.
"""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from humanllm_assets.filtering.rule import Duplicates, is_one_of, load_rules, reasons, row_rules
from humanllm_assets.tables import RECORDS
from resources.strict import Strict

FORGOTTEN = "forgotten"


def first_rules(con: duckdb.DuckDBPyConnection, source: str, thresholds: Strict, forgotten: Collection[str] = ()) -> None:
    """Make the table `verdicts` (slice, row_no, reason): every raw record's first failing row rule, NULL where none fails."""
    cases = f"WHEN {is_one_of('user_id', forgotten)} THEN '{FORGOTTEN}' " if forgotten else ""
    cases += " ".join(f"WHEN coalesce(({rule.fails}), true) THEN '{rule.reason}'" for rule in row_rules(source, thresholds))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        SELECT slice, row_no, CAST(CASE {cases} END AS VARCHAR) AS reason FROM raw_records
    """)


def apply_rules(
    con: duckdb.DuckDBPyConnection,
    source: str,
    thresholds: Strict,
    core_table: str = "core",
    forgotten: Collection[str] = (),
) -> dict[str, int]:
    """Split `raw_records` into `kept` (the columns of RECORDS) and `dropped` (record_id, user_id, reason).

    Args:
        thresholds: of the source's rules.
        core_table: only for a source with a core: slice, row_no, reason of every record that passes the row rules, over all slices;
            reason NULL = it stays.
        forgotten: sha256 of the ids of users to be forgotten. Their records get no row in `dropped`.

    Returns:
        Dropped records by first failing rule, every rule of the source in order, also those that dropped nothing; `forgotten`
        first when anybody is.
        `count(raw_records) = count(kept) + sum(of these)`.
    """
    rules = load_rules(source)
    first_rules(con, source, thresholds, forgotten)
    for duplicates in rules.duplicates:
        drop_duplicates(con, "raw_records", "verdicts", duplicates)
    if rules.has_core:
        _join_core(con, core_table, rules.core_reasons[-1])
    con.execute(f"""
        CREATE OR REPLACE TABLE kept AS
        SELECT {", ".join(column.name for column in RECORDS)} FROM raw_records SEMI JOIN (FROM verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    con.execute(f"""
        CREATE OR REPLACE TABLE dropped AS
        SELECT record_id, user_id, reason FROM raw_records JOIN verdicts USING (slice, row_no) WHERE reason <> '{FORGOTTEN}'
    """)
    found = dict(con.execute("SELECT reason, count(*) FROM verdicts GROUP BY reason").fetchall())
    con.execute("DROP TABLE verdicts")
    counted = [*([FORGOTTEN] if forgotten else []), *reasons(source, thresholds)]
    return {reason: found.get(reason, 0) for reason in counted}


def _join_core(con: duckdb.DuckDBPyConnection, core_table: str, unseen: str) -> None:
    """Take over the core's verdicts on the records that the row rules leave."""
    # a candidate that the core has never seen (the slice changed since) is not in it
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        SELECT v.slice, v.row_no, coalesce(v.reason, c.reason, CASE WHEN c.row_no IS NULL THEN '{unseen}' END) AS reason
        FROM verdicts v LEFT JOIN {core_table} c USING (slice, row_no)
    """)


def drop_duplicates(con: duckdb.DuckDBPyConnection, table: str, verdicts: str, duplicates: Duplicates) -> None:
    """Give all but one of the rows of `table` that share a key, and that no rule has dropped yet, a reason in `verdicts`."""
    con.execute(f"""
        UPDATE {verdicts} SET reason = '{duplicates.reason}'
        FROM (
            SELECT slice, row_no FROM {table} JOIN {verdicts} USING (slice, row_no) WHERE reason IS NULL
            QUALIFY row_number() OVER (PARTITION BY {duplicates.keys} ORDER BY created_at, text_key, slice, row_no) > 1
        ) extra
        WHERE {verdicts}.slice = extra.slice AND {verdicts}.row_no = extra.row_no
    """)
