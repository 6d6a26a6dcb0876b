"""Faults aimed into the middle of runs, a few of them; `benchmarks/chaos.py` does a hundred."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resources.profile import PROJECT_ROOT

FAULTS = 7
SEED = 51  # draws six of the seven kinds, where libfaketime is installed


@pytest.mark.long
def test_what_is_hit_by_faults_comes_out_as_if_nothing_had_happened() -> None:
    command = [sys.executable, "benchmarks/chaos.py", "--faults", str(FAULTS), "--seed", str(SEED), "--patience", "600"]
    run = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert f"{FAULTS} faults in 1 homes" in run.stdout
