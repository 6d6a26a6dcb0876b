"""The layers hold, and what enforces them can fail (`[tool.importlinter]` and ruff's ban in pyproject.toml)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resources.profile import PROJECT_ROOT

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The code and its configuration, to be broken."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("humanllm_assets", "resources"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "sample"))
    shutil.copy2(PROJECT_ROOT / "pyproject.toml", root)
    return root


def check(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / command[0]), *command[1:]], cwd=root, capture_output=True, text=True, check=False)


def broken(root: Path, file: str, line: str, *command: str) -> str:
    """What a check says of the copy with one line more; it must fail, and pass again without the line."""
    path = root / file
    before = path.read_text()
    path.write_text(f"{before}\n\n{line}\n")
    try:
        failed = check(root, *command)
    finally:
        path.write_text(before)
    assert failed.returncode != 0, f"`{line}` in {file} was not noticed"
    return failed.stdout + failed.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("resources/files.py", "from humanllm_assets import tables"),
        ("humanllm_assets/lineage/step.py", "def up():\n    from humanllm_assets.orchestration import build"),
        ("humanllm_assets/tasks/split.py", "if TYPE_CHECKING:\n    from humanllm_assets.training import data"),
        ("humanllm_assets/lineage/nodes.py", "def up():\n    from humanllm_assets.lineage import step"),
    ],
)
def test_an_import_that_goes_up_fails(copy, file, line):
    assert "BROKEN" in broken(copy, file, line, "lint-imports", "--no-cache")


def test_a_circle_fails(copy):
    line = "def circle():\n    from humanllm_assets.evaluation import funnel_inputs"
    assert "BROKEN" in broken(copy, "humanllm_assets/evaluation/funnel_report.py", line, "lint-imports", "--no-cache")


def test_a_heavy_import_at_module_level_fails(copy):
    assert "TID253" in broken(copy, "humanllm_assets/graph.py", "import torch", "ruff", "check")


def test_the_code_keeps_its_layers(copy):
    done = check(copy, "lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout


def test_the_drawing_in_the_docs_shows_the_layers_that_are_enforced():
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["layers"][-1] == "resources")
    enforced = [sorted(n.strip().removeprefix("humanllm_assets.") for n in re.split(r"[|:]", layer)) for layer in layers]
    text = (PROJECT_ROOT / "docs/architecture.md").read_text()
    drawing = text[text.index("```") : text.index("```", text.index("```") + 3)].splitlines()[1:]
    drawn = [sorted(n.strip() for n in line[:21].split(",")) for line in drawing]
    assert drawn == enforced
