"""The version of the science code behind an asset: a hash of its syntax trees.

An edited comment, docstring or line break changes nothing; an edited constant, condition or query does. A module's version
covers the project's science modules that it imports too (those in the stage folders beside it), never the machinery
(`lineage`, `resources`, the thin `assets.py`), whose changes must not make a data set stale.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = "humanllm_assets"
_ROOT = Path(__file__).resolve().parent.parent
_SCIENCE = ("sources", "filtering", "synthesis", "quality", "tasks", "training", "evaluation")
_MACHINERY = {
    f"{PACKAGE}.quality.contracts",  # a contract enters an identity by its own version
    f"{PACKAGE}.quality.checks",
    f"{PACKAGE}.quality.gx_runner",
    f"{PACKAGE}.quality.docs_server",
    f"{PACKAGE}.training.launch",  # execution: how many processes, which launcher
}


def _file(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE or len(parts) < 3 or parts[1] not in _SCIENCE or parts[-1] == "assets" or module in _MACHINERY:
        return None
    path = _ROOT.joinpath(*parts[1:]).with_suffix(".py")
    return path if path.is_file() else None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{a.name}" for a in node.names)
    return {n for n in names if _file(n)}


def source_hash(text: str) -> str:
    """SHA-256 of a module's syntax tree without docstrings, positions and comments."""
    return hashlib.sha256(ast.dump(_without_docstrings(ast.parse(text))).encode()).hexdigest()


@cache
def _module(module: str) -> tuple[str, frozenset[str]]:
    path = _file(module)
    if path is None:
        raise ValueError(f"{module} is no science module of {PACKAGE}; list modules of {', '.join(_SCIENCE)}")
    text = path.read_text(encoding="utf-8")
    return source_hash(text), frozenset(_imports(ast.parse(text)))


@cache
def code_version(*modules: str) -> str:
    """Version of the named science modules and of those they import: 16 hexadecimal digits.

    Raises:
        ValueError: a name is not a science module of this project.
    """
    todo, seen = list(modules), {}
    while todo:
        name = todo.pop()
        if name not in seen:
            seen[name], imported = _module(name)
            todo.extend(imported)
    return hashlib.sha256("\n".join(f"{n} {h}" for n, h in sorted(seen.items())).encode()).hexdigest()[:16]
