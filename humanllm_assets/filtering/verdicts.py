"""Applying the rule filters F1-F4 (section 2.1): per source one ordered list of reasons with the condition that drops a record.

`SliceFilter` judges the parts of a slice one by one, as they are read, and splits it into kept and dropped records. A dropped record
is counted by its first failing rule, in the order of the source's list; a later rule sees only what the earlier ones left. Three
kinds, in order:

1. row rules: look at one record. A condition that a NULL leaves undecided drops the record: an unknown score is not a score
   of at least 2, a comment of an unknown author is not one of a known person.
2. a core, where the source has one (Amazon): rules over all slices, whose verdicts another asset gives. Then no duplicates are
   looked for within a slice.
3. duplicates: of the records that are left and share a key, one stays: the earliest, and of equally early ones the one with
   the smaller text key, then the earlier position in the files. First by id, then by user and text.

Forgotten users (`forgotten`: sha256 of their ids) come before all rules: their records are counted as `forgotten` and leave no row.
In Amazon's core a forgotten user's purchases still count as numbers: without them other users would lose records, and a takedown
would change their personas and ask a model about them.

What belongs here: what is done with any source's rules. What does not: the rules (`rules/`), thresholds (`resources/sources.py`),
LLM labels.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from humanllm_assets.filtering.rule import OTHER_SUBREDDIT, Duplicates, Rule, is_one_of, load_rules, reasons, row_rules
from humanllm_assets.sources.readers import RAW_COLUMNS
from humanllm_assets.sql import literal, parquet
from humanllm_assets.tables import RECORDS
from resources.strict import Strict

FORGOTTEN = "forgotten"
_UNLISTED = f"'{FORGOTTEN}', '{OTHER_SUBREDDIT}'"  # counted, without a row
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_READS_TEXT = re.compile(r"\b(text|title|n_chars|text_key|removed)\b")  # columns that are made of texts
_CONTEXT = ("context_title", "context_text")
_CARRIED = (*(column.name for column in RECORDS), "row_no")


def fails_first(rules: Collection[Rule], otherwise: str = "NULL") -> str:
    """SQL: the reason of the first of the rules that a record fails; `otherwise` where it fails none."""
    cases = " ".join(f"WHEN coalesce(({rule.fails}), true) THEN {literal(rule.reason)}" for rule in rules)
    return f"CASE {cases} ELSE {otherwise} END" if cases else otherwise


class SliceFilter:
    """The rules of one source over one slice, which comes part by part: `take` each part, then `finish`.

    What passes lies in Parquet files in `folder` until it is written, so that memory does not grow with the slice.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        source: str,
        thresholds: Strict,
        folder: Path,
        core: str = "core",
        forgotten: Collection[str] = (),
        selection: Sequence[Rule] = (),
    ) -> None:
        """Begin with an empty slice.

        Args:
            thresholds: of the source's rules.
            folder: for temporary files; it must be there until the results have been read.
            core: only for a source with a core: a relation (row_no, reason) of the slice's records that the rules over all slices
                let pass (reason NULL) or drop for a reason of their own; what is not in it is dropped for the last of `core_reasons`.
            forgotten: sha256 of the ids of users to be forgotten. Their records get no row in `dropped_rows`, nor do those of other
                subreddits, which belong to other slices: one dump of all of Reddit may serve fifty.
            selection: what of the rows belongs to the slice; these rules come before the source's.
        """
        self._con, self._folder, self._core, self._forgotten = con, folder, core, forgotten
        self._rules = load_rules(source)
        self._row_rules = [*selection, *row_rules(source, thresholds)]
        first = [FORGOTTEN] if forgotten else []
        self._reasons = [*first, *(rule.reason for rule in selection), *reasons(source, thresholds)]
        self._found: Counter[str] = Counter()
        self._parts = 0

    def take(self, part: str) -> int:
        """Judge the rows of a relation with the columns `RAW_COLUMNS`; returns how many they are.

        Making a record's text costs more than all else, and most records fail a rule before the first that reads it; so the text is
        made for the others alone, which the table macro `<part>_of` gives by their `row_no`.
        """
        con, rules = self._con, self._rules
        forgotten = [Rule(FORGOTTEN, is_one_of("user_id", self._forgotten))] if self._forgotten else []
        row_rules = [*forgotten, *self._row_rules]
        early = early_rules(row_rules)
        # a source whose ids are made of texts has no use for an early look without a rule
        rows = f"FROM {part}" if early else f"FROM {part} WHERE false"
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE early AS SELECT row_no, record_id, user_id, {fails_first(early)} AS reason {rows}"
        )
        con.execute("CREATE OR REPLACE TEMP VIEW undecided AS SELECT row_no FROM early WHERE reason IS NULL")
        undecided = f"{part}_of('undecided')" if early else part
        unseen = (
            f"CASE WHEN core_row IS NULL THEN {literal(rules.core_reasons[-1])} ELSE core_reason END"
            if rules.has_core
            else "NULL"
        )
        joined = f"LEFT JOIN (SELECT row_no AS core_row, reason AS core_reason FROM {self._core}) ON row_no = core_row"
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE judged AS
            SELECT * REPLACE (CASE WHEN reason IS NULL THEN title END AS title, CASE WHEN reason IS NULL THEN text END AS text)
            FROM (SELECT {", ".join(_CARRIED)}, {fails_first(row_rules[len(early) :], unseen)}::VARCHAR AS reason
                  FROM {undecided} {joined if rules.has_core else ""})
        """)
        self._write(
            "passed", f"SELECT {', '.join(_CARRIED)}, md5_number_lower(text) AS text_key FROM judged WHERE reason IS NULL"
        )
        verdicts = "(SELECT record_id, user_id, reason FROM judged UNION ALL SELECT record_id, user_id, reason FROM early WHERE reason IS NOT NULL)"
        self._write("dropped", f"FROM {verdicts} WHERE reason NOT IN ({_UNLISTED})")
        found = dict(con.execute(f"SELECT coalesce(reason, ''), count(*) FROM {verdicts} GROUP BY 1").fetchall())
        con.execute("DROP VIEW undecided")
        for table in ("early", "judged"):
            con.execute(f"DROP TABLE {table}")
        self._parts += 1
        self._found.update({reason: n for reason, n in found.items() if reason})
        return sum(found.values())

    def _write(self, name: str, query: str) -> None:
        file = self._folder / f"{name}-{self._parts}.parquet"
        self._con.execute(f"COPY ({query}) TO {literal(file)} (FORMAT parquet, COMPRESSION snappy)")

    def _view(self, name: str, columns: str) -> str:
        files = [self._folder / f"{name}-{n}.parquet" for n in range(self._parts)]
        if files:
            return f"SELECT * FROM {parquet(files)}"
        return f"SELECT {columns} WHERE false"

    def gather(self) -> None:
        """After the last part: make the view `passed`, the records that pass all rules but those about duplicates."""
        nothing = ", ".join(f"CAST(NULL AS {RAW_COLUMNS[name]}) AS {name}" for name in (*_CARRIED, "text_key"))
        self._con.execute(f"CREATE OR REPLACE VIEW passed AS {self._view('passed', nothing)}")

    def finish(self, context: str | None = None) -> dict[str, int]:
        """Drop duplicates and look up the context of what is left. Makes the views
        `kept_rows` (the columns of RECORDS) and `dropped_rows` (record_id, user_id, reason).

        Args:
            context: a relation (context_id, context_title, context_text) with one row per id; None when the
                parts had the context in their own columns.

        Returns:
            Dropped records by first failing rule, every rule of the source in order, also those that dropped nothing; `forgotten`
            first when anybody is. Rows taken = rows of `kept_rows` + sum of these.
        """
        con = self._con
        con.execute("CREATE OR REPLACE TABLE fallen (row_no BIGINT, record_id VARCHAR, user_id VARCHAR, reason VARCHAR)")
        for duplicates in self._rules.duplicates:
            extra = find_duplicates("passed ANTI JOIN fallen USING (row_no)", duplicates, "row_no, record_id, user_id")
            con.execute(f"INSERT INTO fallen {extra}")
        found = (
            f"(SELECT * EXCLUDE ({', '.join(_CONTEXT)}) FROM passed) LEFT JOIN {context} USING (context_id)"
            if context
            else "passed"
        )
        columns = ", ".join(column.name for column in RECORDS)
        con.execute(f"CREATE OR REPLACE VIEW kept_rows AS SELECT {columns} FROM {found} ANTI JOIN fallen USING (row_no)")
        nothing = "NULL::VARCHAR AS record_id, NULL::VARCHAR AS user_id, NULL::VARCHAR AS reason"
        con.execute(
            f"CREATE OR REPLACE VIEW dropped_rows AS {self._view('dropped', nothing)} UNION ALL SELECT record_id, user_id, reason FROM fallen"
        )
        self._found.update(dict(con.execute("SELECT reason, count(*) FROM fallen GROUP BY 1").fetchall()))
        return {reason: self._found[reason] for reason in self._reasons}


def early_rules(rules: Sequence[Rule]) -> list[Rule]:
    """The rules before the first that reads a text, a title or what is made of them."""
    return list(itertools.takewhile(lambda rule: not _READS_TEXT.search(_QUOTED.sub("", rule.fails)), rules))


def find_duplicates(relation: str, duplicates: Duplicates, columns: str) -> str:
    """SQL: of the rows of a relation that share a key all but one, as the given columns and `reason`.

    Only rows whose key's hash occurs twice are sorted: nearly all rows have a key of their own.
    """
    key = f"hash({duplicates.keys})"
    twice = f"SELECT {key} AS key_hash FROM {relation} GROUP BY 1 HAVING count(*) > 1"
    return f"""
        SELECT {columns}, '{duplicates.reason}' AS reason FROM (SELECT * FROM (SELECT *, {key} AS key_hash FROM {relation}) SEMI JOIN ({twice}) USING (key_hash))
        QUALIFY row_number() OVER (PARTITION BY {duplicates.keys} ORDER BY created_at, text_key, slice, row_no) > 1
    """
