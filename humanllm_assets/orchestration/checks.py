"""Contracts as Dagster asset checks: one check per (contract, severity), with the rules in its description and the outcomes in
its metadata.

Results are built from a stored verdict (`ContractRun.verdict()`) alone, so that a reused snapshot shows the checks of the run
that wrote it. What belongs here: the translation. What does not: deciding whether a snapshot is published
(`ContractRun.passed`; Dagster's `blocking` holds only inside one run) and anything that imports Great Expectations.
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from humanllm_assets.contracts.docs_server import page_url
from humanllm_assets.contracts.suite import SEVERITIES, Contract
from humanllm_assets.pages.markdown import escape_markdown

_FAILING_ROWS = 100  # shown in the UI; the verdict holds 20 per expectation


def check_name(contract: str, severity: str) -> str:
    """Name of the check of one contract and severity, such as `raw__critical`."""
    return f"{contract}__{severity}"


def check_specs(
    contract: Contract, asset_key: dg.AssetKey | str, partitions_def: dg.PartitionsDefinition | None
) -> list[dg.AssetCheckSpec]:
    """One spec per severity that the contract uses; critical ones block. Give the asset's own `partitions_def`: an
    unpartitioned check on a partitioned asset lets one partition's pass hide another's failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitioned checks are a preview in the pinned Dagster
        return [
            dg.AssetCheckSpec(
                name=check_name(contract.name, severity),
                asset=asset_key,
                description=contract.describe(severity),
                blocking=severity == "critical",
                partitions_def=partitions_def,
                metadata={"contract_version": contract.version},
            )
            for severity in SEVERITIES
            if contract.tier(severity)
        ]


def check_results(verdict: Mapping[str, Any], asset_key: dg.AssetKey | str) -> list[dg.AssetCheckResult]:
    """The results for `check_specs`, from `ContractRun.verdict()` or the copy of it in a manifest.

    Critical failures are errors, warnings warn, info always passes and counts. An expectation that could not be evaluated is an
    error whatever its severity.
    """
    key = dg.AssetKey.from_coercible(asset_key)
    results = []
    for severity in SEVERITIES:
        rows = [e for e in verdict["expectations"] if e["severity"] == severity]
        if rows:
            results.append(_result(verdict, severity, rows, key))
    return results


def _result(
    verdict: Mapping[str, Any], severity: str, rows: Sequence[Mapping[str, Any]], key: dg.AssetKey
) -> dg.AssetCheckResult:
    bad = [e for e in rows if e["status"] != "pass"]
    errors = [e for e in rows if e["status"] == "error"]
    metadata: dict[str, Any] = {
        "contract_version": verdict["version"],
        "expectations": len(rows),
        "failed": len(bad),
        "unexpected_rows": sum(e["unexpected"] or 0 for e in rows),
        "outcomes": _table(
            [
                {"status": e["status"], "id": e["id"], "expected": e["expected"], "actual": e["actual"]}
                for e in sorted(rows, key=lambda e: ("error", "fail", "pass").index(e["status"]))
            ]
        ),
    }
    for table, n in verdict["rows"].items():
        if table != "measures" and any(e["table"] == table for e in rows):
            metadata[f"rows_{table}"] = n
    if failing := [{"expectation": e["id"], **row} for e in bad for row in e["sample"]]:
        metadata["failing_rows"] = _table(failing[:_FAILING_ROWS])
    for table in dict.fromkeys(e["table"] for e in rows if e["table"] in verdict["docs"]):
        metadata[f"data_docs_{table}"] = dg.MetadataValue.url(page_url(verdict["docs"][table]))
    return dg.AssetCheckResult(
        passed=not errors and (severity == "info" or not bad),
        check_name=check_name(verdict["contract"], severity),
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if errors or severity == "critical" else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
        description="; ".join(escape_markdown(f"{e['expected']}: {e['actual']}") for e in bad[:5])
        or f"all {len(rows)} expectations hold",
    )


def _table(rows: Sequence[Mapping[str, str]]) -> dg.TableMetadataValue:
    schema = dg.TableSchema([dg.TableColumn(name) for name in rows[0]])
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows], schema=schema)
