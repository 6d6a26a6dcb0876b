"""YAML as its writer meant it: a key that stands twice in one mapping is refused, where the library takes the last one in silence."""

from __future__ import annotations

import math
from typing import Any

import yaml

_MOST_VALUES = 100_000  # of a text; the paper's profile has some 700


class YamlError(ValueError):
    """A text that is not used; one sentence, to be put behind the name of its file."""


def read_yaml(text: str, *, own: bool = True) -> Any:
    """What a YAML text stands for.

    Args:
        own: a file of the project, read by the parser in C. Of others the nesting can be so deep that it would bring that one down.

    Raises:
        YamlError: no YAML, a key twice, or too much of it.
    """
    try:
        loader = yaml.CSafeLoader(text) if own else yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if (values := _count_values(root)) > _MOST_VALUES:
            raise YamlError(
                f"stands for {values:,.0f} values with its `*` references filled in, of {_MOST_VALUES:,} at most; remove some"
            )
        _refuse_repeated_keys(root, set())
        return loader.construct_document(root)
    except yaml.YAMLError as e:
        raise YamlError(f"is not valid YAML: {' '.join(str(e).split())}") from e
    except RecursionError as e:
        raise YamlError("is nested too deeply to be read; flatten it") from e


def _count_values(root: yaml.Node) -> float:
    """Values of a YAML text once its references are filled in: a text of a few lines can stand for billions of them."""
    known: dict[int, float] = {}

    def count(node: yaml.Node) -> float:
        if id(node) not in known:
            known[id(node)] = math.inf  # until it is counted: one that holds itself has no end
            known[id(node)] = 1 + sum(map(count, _parts(node)))
        return known[id(node)]

    return count(root)


def _refuse_repeated_keys(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise YamlError(f"has the key `{key.value}` twice, in lines {lines[name]} and {line}; remove one of them")
            lines[name] = line
    for part in _parts(node):
        _refuse_repeated_keys(part, seen)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.CollectionNode):
        return []
    return [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
