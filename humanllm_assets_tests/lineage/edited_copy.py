"""A copy of the product, edited in one place, and what every partition's identity is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from resources.profile import PROJECT_ROOT

_PRODUCT = ("humanllm_assets", "resources", "prompts", "pyproject.toml")
_IDENTITIES = """
import json, sys
from pathlib import Path
from humanllm_assets.graph import build_graph
from resources.canonical import digest
from resources.home import Home
from resources.profile import load_profile

graph = build_graph(load_profile("local"), Home(Path(sys.argv[1])))
found = {}
for item in graph.all_partitions():
    node = graph[item.asset]
    found[str(item)] = digest({"own": node.own_identity(item.partition), "external": node.external(item.partition)})
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Edit:
    """One edit of the product and what it decides.

    file: below the project's root. change: the file's new text from its old one. stale: patterns of the partitions whose own
    identity changes by it, such as `qc_scores[[]*]` or `funnel_report`; every one of them matches something.
    """

    name: str
    file: str
    change: Callable[[str], str]
    stale: tuple[str, ...]


def replace(old: str, new: str) -> Callable[[str], str]:
    """A change of one place, which must be there once."""

    def change(text: str) -> str:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the file to be edited"
        return text.replace(old, new)

    return change


def copy_product(folder: Path) -> None:
    """The product's code, prompts and sample, without anything made from them."""
    for name in _PRODUCT:
        source = PROJECT_ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)


def read_identities(product: Path, home: Path) -> dict[str, str]:
    """Hash of the own identity, and of what lies outside, of every partition: asset[partition] -> hash. In a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(product), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _IDENTITIES, str(home)]
    done = subprocess.run(command, cwd=product, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def changed_by(edit: Edit, product: Path, home: Path, before: dict[str, str]) -> set[str]:
    """The partitions whose identity the edit changes, tried on a product folder, which is as before afterwards."""
    file = product / edit.file
    text = file.read_text(encoding="utf-8")
    edited = edit.change(text)
    assert edited != text, f"{edit.name}: the edit changes nothing"
    file.write_text(edited, encoding="utf-8")
    try:
        after = read_identities(product, home)
    finally:
        file.write_text(text, encoding="utf-8")
    return {item for item in before.keys() | after.keys() if before.get(item) != after.get(item)}


def expected_of(edit: Edit, items: set[str]) -> set[str]:
    """The partitions that its patterns name."""
    for pattern in edit.stale:
        assert any(_matches(item, pattern) for item in items), f"{edit.name}: no partition matches {pattern}"
    return {item for item in items if any(_matches(item, pattern) for pattern in edit.stale)}


def _matches(item: str, pattern: str) -> bool:
    """`asset` means all its partitions, `asset[partition]` one; * stands for anything in both."""
    asset, _, partition = pattern.partition("[")
    own_asset, _, own_partition = item.partition("[")
    return fnmatchcase(own_asset, asset) and (not partition or fnmatchcase(own_partition[:-1], partition[:-1]))
