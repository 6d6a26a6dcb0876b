"""SQL and Arrow from declared columns: what a table is, how its rows are cast, written and read, how a value is quoted.

What belongs here: text of queries that every other layer writes. What does not: the tables themselves (`tables.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class Column(NamedTuple):
    """One declared column of a table."""

    name: str
    type: str  # DuckDB type
    description: str


Table = tuple[Column, ...]


def define_table(*columns: tuple[str, str, str]) -> Table:
    """A table of (name, DuckDB type, meaning) triples."""
    return tuple(Column(*c) for c in columns)


_ARROW = {
    "VARCHAR": "string",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "DOUBLE": "float64",
    "BOOLEAN": "bool_",
}


def arrow_schema(table: Table) -> pa.Schema:
    """The table's Arrow schema, in which rows are written."""
    import pyarrow as pa

    def kind(t: str) -> pa.DataType:
        if t.endswith("[]"):
            return pa.list_(kind(t[:-2]))
        return pa.timestamp("us") if t == "TIMESTAMP" else getattr(pa, _ARROW[t])()

    return pa.schema([(c.name, kind(c.type)) for c in table])


def select_list(table: Table) -> str:
    """SQL select list that casts every column to its declared type."""
    return ", ".join(f'"{c.name}"::{c.type} as "{c.name}"' for c in table)


def literal(value: object) -> str:
    """A value as a SQL string: paths and ids in queries that take no parameters."""
    return "'" + str(value).replace("'", "''") + "'"


def parquet(paths: Iterable[str | Path], *options: str) -> str:
    """SQL for the rows of Parquet files, such as `read_parquet(['a.parquet'], union_by_name = true)`.

    Args:
        options: of DuckDB's `read_parquet` that are switched on: `union_by_name`, `filename`, `file_row_number`.
    """
    listed = ", ".join(literal(path) for path in paths)
    return f"read_parquet([{listed}]{''.join(f', {option} = true' for option in options)})"


def read_rows(con: duckdb.DuckDBPyConnection, query: str, size: int = 500) -> Iterator[dict[str, Any]]:
    """Rows of a query as dicts, `size` at a time, through a cursor of their own: `con` stays free for other statements.

    A cursor sees tables and views, but no temporary ones and no registered Python objects.
    """
    cursor = con.cursor()
    try:
        cursor.execute(query)
        names = [column[0] for column in cursor.description or ()]
        while rows := cursor.fetchmany(size):
            for values in rows:
                yield dict(zip(names, values, strict=True))
    finally:
        cursor.close()


Tables = Mapping[str, Table]
