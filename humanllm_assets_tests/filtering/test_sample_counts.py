"""The embedded sample against `resources/sample/expected_counts.yaml`: reviewed numbers per slice and rule."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from humanllm_assets.filtering.rule import reasons
from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
from humanllm_assets.sources.files import find_files
from humanllm_assets_tests.whole_slice import apply_rules, read_records
from resources.profile import PROJECT_ROOT
from resources.thresholds import Rules

SAMPLE = PROJECT_ROOT / "resources" / "sample"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((SAMPLE / "expected_counts.yaml").read_text())
RULES = Rules()
RICH_USERS, RICH_RECORDS = 12, {"reddit": 6, "reddit_comments": 6, "twitter": 6, "blogger": 6, "amazon": 10}


@pytest.mark.parametrize("source", EXPECTED)
def test_sample_counts_are_the_reviewed_ones(source: str, tmp_path: Path) -> None:
    con, folder, rules = duckdb.connect(config={"threads": 2}), SAMPLE / source, getattr(RULES, source)

    def read(name: str) -> dict[str, int]:
        expected = EXPECTED[source][name]
        context = find_files(folder, expected["context_files"]) if expected["context_files"] else []
        report = read_records(con, source, name, find_files(folder, expected["files"]), context, tmp_path)
        return {"read": report.rows_read, "quarantined": report.unreadable}

    if source == "amazon":
        for name in EXPECTED[source]:
            read(name)
            amazon_candidates(con, rules)
        assert amazon_core(con, rules) == 3  # one item falls in the second round
    users: Counter[str] = Counter()
    items: dict[str, set[str]] = {}
    seen: set[str] = set()
    for name, expected in EXPECTED[source].items():
        found: dict[str, Any] = read(name)
        dropped = apply_rules(con, source, rules, "core_verdicts")
        kept = con.execute("SELECT user_id, record_id, context_id FROM kept").fetchall()
        found |= {"kept": len(kept), "dropped": {reason: n for reason, n in dropped.items() if n}}
        assert found == {key: value for key, value in expected.items() if "files" not in key}
        assert found["read"] == found["quarantined"] + found["kept"] + sum(found["dropped"].values())
        users.update(user for user, _, _ in kept)
        items[name] = {item for _, _, item in kept}
        assert not seen & {record for _, record, _ in kept}  # ids are unique over the slices
        seen |= {record for _, record, _ in kept}
    con.close()
    assert len(users) >= 25
    assert sum(n >= RICH_RECORDS[source] for n in users.values()) >= RICH_USERS
    if source == "amazon":
        assert all(len(found) >= 60 for found in items.values())  # 20-way item selection needs a catalogue per category


@pytest.mark.parametrize("source", EXPECTED)
def test_every_rule_drops_something_of_the_sample(source: str) -> None:
    dropped = {reason for expected in EXPECTED[source].values() for reason in expected["dropped"]}
    assert dropped == set(reasons(source, getattr(RULES, source)))


def test_the_sample_is_what_its_script_writes(tmp_path: Path) -> None:
    for script in ("write_sample.py", "texts.py"):
        (tmp_path / script).write_bytes((SAMPLE / script).read_bytes())
    subprocess.run([sys.executable, "-B", str(tmp_path / "write_sample.py")], check=True)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".py"}
    stored = {path.relative_to(SAMPLE) for source in EXPECTED for path in (SAMPLE / source).rglob("*") if path.is_file()}
    assert written == stored
    assert [str(name) for name in sorted(written) if (tmp_path / name).read_bytes() != (SAMPLE / name).read_bytes()] == []
    assert sum(path.stat().st_size for path in (SAMPLE / name for name in stored)) < 1_500_000
