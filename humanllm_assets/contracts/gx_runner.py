"""Runs a contract with Great Expectations over Parquet files, in DuckDB, and writes its Data Docs pages.

Great Expectations is imported inside `run_contract` only (seconds, hundreds of MB): call it in the step that checks. What comes
back is plain Python: `ContractRun.verdict()` is stored in the snapshot's manifest and is all that `checks.py` needs.

Known behaviour of Great Expectations 1.24 that this module absorbs: it logs and drops expectations that it cannot build; its
results come in another order; numbers are numpy scalars; two contexts in one process mix up (#12209); on SQLAlchemy it reads
rows after the connection went back to the pool (#10738, #11579); Data Docs pages load assets from the web (#8734).
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from humanllm_assets.contracts.suite import CUSTOM_QUERY, MEASURES, Contract, ContractError, Expectation

SAMPLE = 20  # failing rows named per expectation
DOCS_INDEX = "index.html"

# No transaction, so no rollback when the connection returns to the pool: the rollback would empty DuckDB's pending result, and
# one failing statement would abort the transaction for all later ones.
_ENGINE = {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
_ONE_CONTEXT = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What one expectation found.

    `evaluated`: rows it looked at (conditions applied, nulls left out). `unexpected`: how many broke it; `percent`: their share
    of the evaluated ones, 0-100. `observed`: the measure, or what a table-wide expectation counted. `sample`: at most 20
    failing rows as {"id", "value"}. `error`: why it could not be evaluated; then the status is `error`, never pass or fail.
    """

    id: str
    status: Literal["pass", "fail", "error"]
    evaluated: int | None = None
    unexpected: int | None = None
    percent: float | None = None
    observed: str = ""
    sample: list[dict[str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def actual(self) -> str:
        """What was found, in words, to stand beside what was expected."""
        if self.error:
            return f"could not be evaluated: {self.error}"
        if self.observed or self.unexpected is None:
            return self.observed or f"{self.evaluated or 0} rows to check"
        share = f" ({self.percent:.3g}%)" if self.unexpected and self.percent is not None else ""
        return f"{self.unexpected} of {self.evaluated} rows break it{share}"

    @property
    def example(self) -> str:
        """Ids of up to three failing rows, as the end of a sentence; empty without any."""
        ids = ", ".join(row["id"] for row in self.sample[:3])
        return f", for example {ids}" if ids else ""


@dataclass(frozen=True)
class ContractRun:
    """A contract's outcomes over one partition. `docs`: table -> page, relative to the docs folder. `rows`: table -> rows."""

    contract: Contract
    run_name: str
    rows: Mapping[str, int]
    docs: Mapping[str, str]
    outcomes: Mapping[str, Outcome]

    @property
    def blocking(self) -> tuple[Expectation, ...]:
        """What forbids publishing: critical expectations that failed, and any that could not be evaluated."""
        status = {i: o.status for i, o in self.outcomes.items()}
        return tuple(
            e
            for e in self.contract.expectations
            if status[e.id] == "error" or (status[e.id] == "fail" and e.severity == "critical")
        )

    @property
    def passed(self) -> bool:
        """Whether the snapshot may be published."""
        return not self.blocking

    @property
    def docs_path(self) -> str | None:
        """The page to show first: that of a table that failed, else the first one; relative to the docs folder."""
        bad = [e.table for e in self.contract.expectations if self.outcomes[e.id].status != "pass" and e.table in self.docs]
        return next((self.docs[t] for t in [*bad, *self.docs]), None)

    def verdict(self) -> dict[str, Any]:
        """The run as JSON: everything that the asset checks show, without machine paths.

        passed; failed (one sentence per blocking expectation); contract, version, run; rows and docs by table; docs_path; and
        expectations: id, table, severity, expected, actual (both in words) and the fields of `Outcome`.
        """
        return {
            "passed": self.passed,
            "failed": [f"{e.rule}: {self.outcomes[e.id].actual}{self.outcomes[e.id].example}" for e in self.blocking],
            "contract": self.contract.name,
            "version": self.contract.version,
            "run": self.run_name,
            "rows": dict(self.rows),
            "docs": dict(self.docs),
            "docs_path": self.docs_path,
            "expectations": [
                {"table": e.table, "severity": e.severity, "expected": e.rule, "actual": self.outcomes[e.id].actual}
                | asdict(self.outcomes[e.id])
                for e in self.contract.expectations
            ],
        }


def run_contract(
    contract: Contract,
    tables: Mapping[str, Path],
    measures: Mapping[str, float] | None = None,
    docs_root: Path | None = None,
    run_name: str = "run",
    key_columns: Mapping[str, str] | None = None,
) -> ContractRun:
    """Check the tables and measures that a step wrote.

    Args:
        tables: table name -> Parquet file. Tables that the contract does not name are ignored.
        measures: name -> number, see the head of the suite's file.
        docs_root: folder of the Data Docs pages; null writes none.
        run_name: names the pages, for example `<asset>/<partition>/<run id>`.
        key_columns: table name -> column that names a row, where it differs from the suite's `key`.

    Raises:
        ContractError: a table or measure of the contract is not given, a measure is not a number, or Great Expectations does
            not know an expectation or its arguments.
    """
    measures = measures or {}
    _require_inputs(contract, tables, measures)
    present = {t: str(p) for t, p in tables.items() if t in contract.tables and p.is_file()}
    if MEASURES in contract.tables:
        present[MEASURES] = ""
    with _ONE_CONTEXT:
        gx = _great_expectations()
        context = _context(gx)
        source = context.data_sources.add_sql(
            "duckdb", connection_string="duckdb:///:memory:", create_temp_table=False, kwargs=_ENGINE
        )
        engine = source.get_execution_engine()
        try:
            rows = _register(engine, present, {name: measures[name] for name in contract.measures})
            outcomes: dict[str, Outcome] = {}
            docs: dict[str, str] = {}
            for table in present:
                expectations = [e for e in contract.expectations if e.table == table]
                key = (key_columns or {}).get(table) or contract.tables[table].key
                result = _validate(gx, context, source, contract, table, expectations, key, run_name)
                outcomes |= _outcomes(result, expectations, key, rows[table], measures)
                if docs_root is not None:
                    docs[table] = _write_page(docs_root, contract, table, run_name, result, outcomes)
        finally:
            engine.close()
            engine.engine.dispose()
    for e in contract.expectations:
        if e.table not in present:  # optional: this partition has no such table
            outcomes[e.id] = Outcome(e.id, "pass", evaluated=0, observed="no such table in this partition")
    return ContractRun(contract, run_name, rows, docs, outcomes)


def _require_inputs(contract: Contract, tables: Mapping[str, Path], measures: Mapping[str, float]) -> None:
    required = [name for name, table in contract.tables.items() if name != MEASURES and not table.optional]
    wrong = [f"table `{name}` is not given" for name in required if name not in tables]
    wrong += [
        f"table `{name}` has no file {tables[name].name}" for name in required if name in tables and not tables[name].is_file()
    ]
    wrong += [f"measure `{name}` is not given" for name in contract.measures if name not in measures]
    needed = {name: measures[name] for name in contract.measures if name in measures}
    wrong += [f"measure `{name}` is {value!r}, not a number" for name, value in needed.items() if not _is_number(value)]
    if wrong:
        raise ContractError(f"contract `{contract.name}` cannot be checked: {'; '.join(wrong)}; the step must provide them")


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") or hasattr(value, "__index__")  # numpy's scalars too


def _great_expectations() -> Any:
    """Great Expectations, silent: no analytics, no tracebacks in the log (they come back per expectation), no progress bars."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="great_expectations")
    import great_expectations as gx

    return gx


def _context(gx: Any) -> Any:
    from great_expectations.data_context.types.base import DataContextConfig, ProgressBarsConfig

    stores = {
        "expectations_store": "ExpectationsStore",
        "validation_results_store": "ValidationResultsStore",
        "checkpoint_store": "CheckpointStore",
        "validation_definition_store": "ValidationDefinitionStore",
    }
    config = DataContextConfig(
        stores={n: {"class_name": c, "store_backend": {"class_name": "InMemoryStoreBackend"}} for n, c in stores.items()},
        expectations_store_name="expectations_store",
        validation_results_store_name="validation_results_store",
        checkpoint_store_name="checkpoint_store",
        data_docs_sites={},
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _register(engine: Any, present: Mapping[str, str], measures: Mapping[str, float]) -> dict[str, int]:
    """A view per table on the connection that Great Expectations will use; returns the row counts."""
    rows: dict[str, int] = {}
    with engine.get_connection() as connection:
        raw = connection.connection.dbapi_connection
        raw.abort()  # the connection test of Great Expectations leaves an unfinished result, in which DuckDB 2 refuses statements
        for table, path in present.items():
            if table == MEASURES:
                query = "SELECT " + ", ".join(f"'{float(value)!r}'::DOUBLE AS \"{name}\"" for name, value in measures.items())
            else:
                query = "SELECT * FROM read_parquet('{}')".format(path.replace("'", "''"))
            raw.execute(f'CREATE VIEW "{table}" AS {query}')
            rows[table] = raw.execute(f'SELECT count(*) FROM "{table}"').fetchall()[0][0]
    return rows


def _validate(
    gx: Any,
    context: Any,
    source: Any,
    contract: Contract,
    table: str,
    expectations: Sequence[Expectation],
    key: str | None,
    run_name: str,
) -> Any:
    name = f"{contract.name}-{table}"
    built = [_build(gx, contract, e) for e in expectations]
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=built, meta={"contract_version": contract.version}))
    batch = source.add_query_asset(table, query=f'SELECT * FROM "{table}"').add_batch_definition("all")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    # the rows of a custom query come back with COMPLETE only; the SQL engine caps its lists at 200 rows
    custom = any(e.type == CUSTOM_QUERY for e in expectations)
    wanted: dict[str, Any] = {"result_format": "COMPLETE" if custom else "SUMMARY", "partial_unexpected_count": SAMPLE}
    if key:
        wanted["unexpected_index_column_names"] = [key]
    return definition.run(result_format=wanted, run_id=gx.RunIdentifier(run_name=run_name))


def _build(gx: Any, contract: Contract, e: Expectation) -> Any:
    """One expectation, in a suite of its own first: Great Expectations drops what it does not know, and says which to the log."""
    config = {"type": e.type, "kwargs": dict(e.kwargs), "severity": e.severity, "meta": {"id": e.id}, "description": e.rule}
    problem = f"contract `{contract.name}`: Great Expectations does not know the type or the arguments of {e.id} ({e.type})"
    try:
        built = gx.ExpectationSuite(name=e.id, expectations=[config]).expectations
    except (gx.exceptions.GreatExpectationsError, ValueError) as error:
        raise ContractError(f"{problem}: {_one_line(error)}") from error
    if not built:
        raise ContractError(problem)
    return built[0]


def _outcomes(
    result: Any, expectations: Sequence[Expectation], key: str | None, rows: int, measures: Mapping[str, float]
) -> dict[str, Outcome]:
    by_id = {e.id: e for e in expectations}
    found: dict[str, Outcome] = {}
    for r in result.results:  # in an order of its own: matched by id
        expectation = by_id[r.expectation_config.meta["id"]]
        content = r.to_json_dict()["result"]
        error = _error(r.exception_info or {})
        status = "error" if error else "pass" if r.success else "fail"
        unexpected = content.get("unexpected_count")
        evaluated = content.get("element_count")
        observed = content.get("observed_value")
        if evaluated is not None:
            evaluated -= content.get("missing_count") or 0
        if expectation.type == CUSTOM_QUERY:
            evaluated, unexpected, observed = rows, observed, None
        percent = content.get("unexpected_percent")
        if expectation.table == MEASURES:
            observed = measures[expectation.kwargs["column"]]
        found[expectation.id] = Outcome(
            expectation.id,
            status,
            evaluated=None if evaluated is None else int(evaluated),
            unexpected=None if unexpected is None else int(unexpected),
            percent=None if percent is None else round(float(percent), 4),
            observed="" if observed is None else _text(observed),
            sample=_sample(content, expectation, key) if status == "fail" else [],
            error=error,
        )
    if missing := sorted(set(by_id) - set(found)):
        raise ContractError(f"Great Expectations gave no result for {', '.join(missing)}")
    return found


def _error(info: Mapping[str, Any]) -> str:
    """The messages of an evaluation that raised, from either of the two layouts in which they come."""
    parts = [info] if "raised_exception" in info else [v for v in info.values() if isinstance(v, dict)]
    return "; ".join(sorted({_one_line(p.get("exception_message") or "no message") for p in parts if p.get("raised_exception")}))


def _one_line(message: Any) -> str:
    return " ".join(str(message).split())[:300]


def _sample(content: Mapping[str, Any], expectation: Expectation, key: str | None) -> list[dict[str, str]]:
    """The failing rows as {"id", "value"}; a row without a readable key is named by its columns."""
    failing = (
        content.get("partial_unexpected_index_list")
        or content.get("details", {}).get("unexpected_rows")
        or [v for v in content.get("partial_unexpected_list", []) if isinstance(v, dict)]
    )
    column = expectation.kwargs.get("column")
    sample = []
    for row in failing[:SAMPLE]:
        name = row.get(key) if key else None
        if name is None:
            name = ", ".join(f"{k}={v}" for k, v in row.items())
        sample.append({"id": str(name), "value": _text(row[column]) if column in row else ""})
    return sample


def _text(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    return str(value)[:80]


# ---- Data Docs -------------------------------------------------------------------------------------------------------

_CSS = """
body{font:14px/1.45 system-ui,sans-serif;margin:24px auto;max-width:1100px;padding:0 16px;color:#1f2430}
h1{font-size:20px}h4,h5,h6{font-size:15px;margin:.8em 0 .3em}a{color:#1a56db}
table{border-collapse:collapse;margin:.4em 0;width:100%}
td,th{border:1px solid #d8dce3;padding:4px 8px;vertical-align:top;text-align:left}
.ge-section{border-top:1px solid #d8dce3;padding:8px 0}.badge{background:#eef0f4;border-radius:3px;padding:0 4px;font-weight:600}
.alert-danger,.alert-warning{background:#fdeceb;padding:6px 8px;white-space:pre-wrap}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
i.text-success::before{content:"\\2714 pass";color:#188038}i.text-danger::before{content:"\\2718 fail";color:#c5221f}
i.text-warning::before{content:"\\26a0 error";color:#b06000}
"""
_UNWANTED = "script, style, link, meta, base, img, iframe, object, embed, form, svg, nav, footer, .sticky, .ge-walkthrough-modal"
_KEPT_ATTRIBUTES = ("class", "id", "colspan", "rowspan", "hidden")


def _write_page(
    docs_root: Path, contract: Contract, table: str, run_name: str, result: Any, outcomes: Mapping[str, Outcome]
) -> str:
    """Render one validation and write it under a name of its own, atomically; returns the path relative to the docs folder."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer(run_info_at_end=True).render(result))
    failing = [
        (e.rule, row["id"], row["value"]) for e in contract.expectations if e.table == table for row in outcomes[e.id].sample
    ]
    folder = [_file_name(part) for part in (contract.name, *run_name.split("/")) if part]
    relative = Path(*folder, f"{_file_name(table)}.html")
    target = docs_root / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_suffix(f".{os.getpid()}.tmp")
    text = offline_page(page, f"{contract.name} / {table} / {run_name}", "../" * len(folder) + DOCS_INDEX, failing)
    staged.write_text(text, encoding="utf-8")
    staged.replace(target)
    return relative.as_posix()


def _file_name(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", part).lstrip(".") or "_"


def offline_page(page: str, title: str, index: str, failing: Sequence[tuple[str, str, str]]) -> str:
    """A Data Docs page that loads nothing: the content of Great Expectations' page in our own frame and style, after the failing
    rows as (rule, id, value), which it does not name.

    Scripts, style sheets, images, frames, navigation and newsletter go; so does every attribute that runs code or loads a file,
    whatever the data in the page says.
    """
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(page)
    for node in tree.css(_UNWANTED):
        node.decompose()
    for node in tree.css("body *"):
        for name in [n for n in node.attributes if n not in _KEPT_ATTRIBUTES]:
            del node.attrs[name]
    content = (tree.body.inner_html if tree.body else "") or ""
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in failing)
    named = f"<h4>Failing rows</h4><table><tr><th>Rule</th><th>Row</th><th>Value</th></tr>{rows}</table>" if rows else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n"
        f'<p><a href="{escape(index)}">all pages</a></p>\n<h1>{escape(title)}</h1>\n{named}\n{content}\n</body>\n</html>\n'
    )
