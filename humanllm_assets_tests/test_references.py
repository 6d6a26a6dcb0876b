"""Docs, docstrings and comments name files that exist: a reference to a moved file sends the next person to the wrong place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.profile import PROJECT_ROOT

_PRODUCT = [PROJECT_ROOT / folder for folder in ("humanllm_assets", "resources", "prompts")]
_KINDS = r"\.(?:py|yaml|md|j2)\b"
_QUOTED = re.compile(rf"`((?:[\w.-]+/)*[\w-]+{_KINDS})`")
_FROM_ROOT = re.compile(
    rf"(?<![\w./-])((?:humanllm_assets|humanllm_assets_tests|resources|docs|prompts|benchmarks)/[\w/.-]+?{_KINDS})"
)
_TO_COME = {
    "humanllm_assets_tests/evaluation/test_kinds.py",
    "humanllm_assets_tests/lineage/test_edits.py",
    "resources/sources.py",
}


def _texts() -> Iterator[Path]:
    for folder in ("humanllm_assets", "resources", "benchmarks"):
        yield from (PROJECT_ROOT / folder).rglob("*.py")
    yield from PROJECT_ROOT.glob("*.md")
    yield from (PROJECT_ROOT / "docs").glob("*.md")


def _exists(name: str, text: Path) -> bool:
    """Whether a name that stands in `text` is a file: below the root, a code folder, the text's own folder or one that holds it."""
    folders = [*_PRODUCT, *(p for p in text.parents if p.is_relative_to(PROJECT_ROOT))]
    if any((folder / name).is_file() for folder in folders):
        return True
    return "/" not in name and any(True for folder in _PRODUCT for _ in folder.rglob(name))


@pytest.mark.parametrize("text", sorted(_texts()), ids=lambda p: str(p.relative_to(PROJECT_ROOT)))
def test_every_file_that_is_named_exists(text: Path) -> None:
    content = text.read_text(encoding="utf-8")
    named = {*_QUOTED.findall(content), *_FROM_ROOT.findall(content)} - _TO_COME
    assert {name for name in named if not _exists(name, text)} == set()
