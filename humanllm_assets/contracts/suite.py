"""Contracts: what must hold for a table before it is published, as data.

A suite is a YAML file under `suites/`: per table its key column and a list of Great Expectations expectations, each with an id,
a severity (critical blocks publishing, warning and info do not; `{$PARAMETER: calibration.severity}` where the profile says which)
and thresholds written `{$PARAMETER: qc.overall_above}`. They are filled here from the profile's `Thresholds`, the very object that the filter SQL reads, so that a rule and its contract
cannot drift apart and the reports show numbers. The table named `measures` is one row of numbers that the step computed.

What a stage declares as a table (which metric applies to which kind of item) is handed in as `lists`, never copied: an expectation
with `each: <list>` is repeated for every row of it, with `{field}` filled in, in a query as a SQL literal; an argument that is
`{field}` alone takes the field's value, and is left out where that is null. `{$VALUES: <list>.<field>}` is the field of all rows.

What belongs here: loading, resolving, hashing and describing suites. What does not: running them (`gx_runner.py`) and showing
them in Dagster (`checks.py`). This module never imports Great Expectations, which costs seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from humanllm_assets.sql import literal
from resources.errors import Explained
from resources.thresholds import Strict, Thresholds
from resources.yaml_text import YamlError, read_yaml

SUITES = Path(__file__).resolve().parent / "suites"
MEASURES = "measures"
CUSTOM_QUERY = "unexpected_rows_expectation"  # SQL that selects the rows which must not exist
Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


class ContractError(Explained):
    """A suite that cannot be used, or a step that does not give a contract what it checks."""


Lists = Mapping[str, Sequence[Mapping[str, Any]]]


class _ExpectationYaml(Strict):
    id: str
    type: str
    each: str | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity | dict[str, str] = "critical"
    description: str = ""


class _TableYaml(Strict):
    key: str | None = None
    optional: bool = False
    expectations: list[_ExpectationYaml]


class _SuiteYaml(Strict):
    description: str
    tables: dict[str, _TableYaml]


@dataclass(frozen=True)
class Expectation:
    """One rule with its thresholds filled in. `id` is `<table>.<id in the YAML>`, unique in its contract."""

    id: str
    table: str
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    description: str

    @property
    def rule(self) -> str:
        """The rule in words, for example `records.n_chars >= 300 where source = reddit`."""
        return rule_text(self)


@dataclass(frozen=True)
class Table:
    """A table of a contract: the column that names its rows, and whether a partition may do without it."""

    key: str | None
    optional: bool


@dataclass(frozen=True)
class Contract:
    """The rules of one asset's tables and measures, with their thresholds filled in."""

    name: str
    description: str
    tables: Mapping[str, Table]
    expectations: tuple[Expectation, ...]

    @classmethod
    def load(cls, name: str, thresholds: Thresholds, source: str | None = None, lists: Lists | None = None) -> Contract:
        """The suite `suites/<name>.yaml` with its thresholds filled in and its lists written out.

        With `source`, `{source}` in the suite stands for it, and the contract is called `<name>_<source>`.

        Args:
            lists: rows by the name that the suite gives them.

        Raises:
            ContractError: the suite does not exist or is malformed, an id occurs twice, a threshold does not exist or is null,
                or the suite needs a source or a list and it was not given.
        """
        path = SUITES / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in SUITES.glob("*.yaml")))
            raise ContractError(f"there is no suite `{name}`; add {path.name} to {SUITES.name}/ or use one of: {known}")
        text = path.read_text(encoding="utf-8")
        return cls.parse(f"{name}_{source}" if source else name, text, thresholds, source, lists)

    @classmethod
    def parse(
        cls, name: str, text: str, thresholds: Thresholds, source: str | None = None, lists: Lists | None = None
    ) -> Contract:
        """Like `load`, from the suite's YAML text."""
        try:
            suite = _SuiteYaml.model_validate(read_yaml(text))
        except YamlError as e:
            raise ContractError(f"suite `{name}` {e}") from e
        except ValidationError as e:
            problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())
            raise ContractError(f"suite `{name}` is malformed: {problems}") from e
        expectations: list[Expectation] = []
        for table, content in suite.tables.items():
            if content.key is None and table != MEASURES:
                raise ContractError(f"suite `{name}`: table `{table}` needs a `key`, the column that names a failing row")
            for e in content.expectations:
                where = f"suite `{name}`, {table}.{e.id}"
                if e.type == CUSTOM_QUERY and not e.description:
                    raise ContractError(f"{where} is a query; add a `description` that says the rule in words")
                if table == MEASURES and "column" not in e.kwargs:
                    raise ContractError(f"{where} must name the measure that it checks in kwargs.column")
                for row in _rows_of(e.each, lists or {}, where) if e.each else ({},):
                    fill = _Filling(thresholds, source, lists or {}, row, where)
                    id_, description = fill(e.id), fill(e.description)
                    severity = fill(e.severity)
                    if severity not in SEVERITIES:
                        raise ContractError(f"{where} has the severity `{severity}`; give it one of: {', '.join(SEVERITIES)}")
                    expectations.append(Expectation(f"{table}.{id_}", table, e.type, fill(e.kwargs), severity, description))
        ids = [e.id for e in expectations]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ContractError(f"suite `{name}` uses an id twice: {', '.join(twice)}; give each expectation its own")
        tables = {t: Table(content.key, content.optional) for t, content in suite.tables.items()}
        fill = _Filling(thresholds, source, {}, {}, f"suite `{name}`, description")
        return cls(name, fill(suite.description), tables, tuple(expectations))

    @cached_property
    def rules(self) -> dict[str, dict[str, Any]]:
        """What decides success, by expectation: type, arguments, severity. Order, comments and descriptions do not count."""
        return {
            e.id: {"type": e.type, "kwargs": e.kwargs, "severity": e.severity, "optional": self.tables[e.table].optional}
            for e in sorted(self.expectations, key=lambda e: e.id)
        }

    @cached_property
    def version(self) -> str:
        """Hash of the rules."""
        return hashlib.sha256(json.dumps(self.rules, sort_keys=True, allow_nan=False).encode()).hexdigest()[:12]

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that a step must compute for this contract."""
        return tuple(sorted({e.kwargs["column"] for e in self.expectations if e.table == MEASURES}))

    def tier(self, severity: Severity) -> tuple[Expectation, ...]:
        """The rules of one severity."""
        return tuple(e for e in self.expectations if e.severity == severity)

    def describe(self, severity: Severity) -> str:
        """The rules of one severity as a Markdown list; shown in the UI, where a check's metadata is not."""
        lines = [f"- {e.rule}" + (f" ({e.description})" if e.description not in e.rule else "") for e in self.tier(severity)]
        return f"{self.description} Contract `{self.name}`, {severity}:\n\n" + "\n".join(lines)


def _rows_of(list_name: str, lists: Lists, where: str) -> Sequence[Mapping[str, Any]]:
    if list_name not in lists:
        raise ContractError(
            f"{where} reads the list `{list_name}`, which was not given ({', '.join(lists) or 'none was'}); "
            "load the contract with lists=..."
        )
    return lists[list_name]


@dataclass(frozen=True)
class _Filling:
    """What stands for the placeholders of one expectation. Whole floats become integers: 8 and 8.0 are one threshold."""

    thresholds: Thresholds
    source: str | None
    lists: Lists
    row: Mapping[str, Any]
    where: str

    def __call__(self, node: Any, in_query: bool = False) -> Any:
        if isinstance(node, dict):
            if set(node) == {"$PARAMETER"}:
                return self(_threshold(self.thresholds, self(node["$PARAMETER"]), self.where))
            if set(node) == {"$VALUES"}:
                name, _, field = node["$VALUES"].partition(".")
                return [row[field] for row in _rows_of(name, self.lists, self.where)]
            filled = {k: self(v, in_query=k == "unexpected_rows_query") for k, v in node.items()}
            return {k: v for k, v in filled.items() if v is not None}
        if isinstance(node, list | tuple):
            return [self(v) for v in node]
        if isinstance(node, str):
            return self._fill_text(node, in_query)
        return int(node) if isinstance(node, float) and node.is_integer() else node

    def _fill_text(self, text: str, in_query: bool) -> Any:
        if "{source}" in text:
            if self.source is None:
                raise ContractError(f"{self.where} depends on the source; load the contract with source=...")
            text = text.replace("{source}", self.source)
        for field, value in self.row.items():
            placeholder = f"{{{field}}}"
            if text == placeholder:
                return value if isinstance(value, str) else self(value)
            if placeholder in text:
                text = text.replace(placeholder, literal(value) if in_query else str(value))
        return text


def _threshold(thresholds: Thresholds, name: str, where: str) -> Any:
    node: Any = thresholds
    for part in name.split("."):
        fields = type(node).model_fields if isinstance(node, Strict) else {}
        if part not in fields:
            raise ContractError(
                f"{where} reads the threshold `{name}`, but there is no `{part}`; known here: {', '.join(fields) or 'nothing'}"
            )
        node = getattr(node, part)
    if node is None or isinstance(node, Strict):
        problem = "null" if node is None else "a group of thresholds"
        raise ContractError(f"{where} reads the threshold `{name}`, which is {problem}; set it to a value in the profile")
    return node


# ---- rules in words --------------------------------------------------------------------------------------------------

_WORDS = {
    "expect_column_values_to_not_be_null": "is never null",
    "expect_column_values_to_be_null": "is null",
    "expect_column_values_to_be_unique": "is unique",
    "expect_compound_columns_to_be_unique": "is unique as a combination",
    "expect_column_to_exist": "exists",
}
_NOT_SHOWN = {"column", "column_list", "row_condition", "mostly"}


def rule_text(e: Expectation) -> str:
    """An expectation as one line that names its table, column, bounds, share and condition."""
    kwargs = e.kwargs
    rest = {k: v for k, v in kwargs.items() if k not in _NOT_SHOWN}
    if e.type == CUSTOM_QUERY:
        return f"{e.table}: {e.description}"
    subject = kwargs.get("column") or ", ".join(kwargs.get("column_list", [])) or "number of rows"
    strict_min, strict_max = rest.pop("strict_min", False), rest.pop("strict_max", False)
    low, high = rest.pop("min_value", None), rest.pop("max_value", None)
    parts = [_WORDS[e.type]] if e.type in _WORDS else []
    if low is not None and low == high:
        parts.append(f"= {low}")
    else:
        parts += [f"{'>' if strict_min else '>='} {low}"] if low is not None else []
        parts += [f"{'<' if strict_max else '<='} {high}"] if high is not None else []
    if "value_set" in rest:
        parts.append("is one of " + ", ".join(map(str, rest.pop("value_set"))))
    parts += [f"{k} = {v}" for k, v in rest.items()]
    text = f"{e.table}.{subject} " if subject != "number of rows" else f"{e.table}: {subject} "
    text += " and ".join(parts) or e.type.removeprefix("expect_").replace("_", " ")
    if "mostly" in kwargs:
        text += f" for at least {kwargs['mostly']:.0%} of the rows"
    if condition := kwargs.get("row_condition"):
        text += f" where {_condition_text(condition)}"
    return text


def _condition_text(condition: Mapping[str, Any]) -> str:
    if condition["type"] in ("and", "or"):
        return f" {condition['type']} ".join(_condition_text(c) for c in condition["conditions"])
    column = condition["column"]["name"]
    if condition["type"] == "nullity":
        return f"{column} is {'' if condition['is_null'] else 'not '}null"
    value = condition["parameter"]
    return (
        f"{column} {condition['operator'].lower().replace('==', '=')} {str(value).lower() if isinstance(value, bool) else value}"
    )
