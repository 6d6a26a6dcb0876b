"""What each rule of each contract does when it is broken: critical blocks publishing, warning and info do not.

After a wanted change: UPDATE_SNAPSHOTS=1 pytest humanllm_assets_tests/contracts/test_severities.py, and review the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from humanllm_assets.contracts.suite import SEVERITIES
from humanllm_assets_tests.contracts import examples

SEEN = Path(__file__).with_name("severities.yaml")


def test_every_rule_has_the_severity_that_was_reviewed() -> None:
    found = {}
    for suite in examples.SUITES:
        contract = examples.load(suite)
        found[suite] = {s: sorted(e.id for e in contract.tier(s)) for s in SEVERITIES if contract.tier(s)}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SEEN.write_text(yaml.safe_dump(found, sort_keys=False))
    assert found == yaml.safe_load(SEEN.read_text())
