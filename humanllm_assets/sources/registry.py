"""What each source brings with it: a module of its name in a folder, found when asked for.

No module of a source is imported by name here or by what uses this, so an asset's code version covers its own source alone
(`Node.code` names the modules; see `lineage/code_version.py`).
"""

from __future__ import annotations

import importlib
from typing import TypeVar

from resources.errors import Explained

Part = TypeVar("Part")


class MissingPart(Explained):
    """A source of the profile lacks one of its modules; the message names it and the file where it belongs."""


def load_part(folder: str, source: str, attribute: str, kind: type[Part]) -> Part:
    """What the module `<folder>.<source>` holds under a name.

    Args:
        folder: a package, such as `humanllm_assets.filtering.rules`.
        attribute: name of the part, such as `RULES`.
        kind: what it is.

    Raises:
        MissingPart: there is no such module, or what it holds under that name is something else.
    """
    module = f"{folder}.{source}"
    file = f"{module.replace('.', '/')}.py"
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as e:
        if e.name != module:  # the module is there; what it imports is not
            raise
        raise MissingPart(
            f"the source `{source}` has no {attribute}; add {file} with `{attribute} = {kind.__name__}(...)`"
        ) from e
    if not isinstance(found, kind):
        raise MissingPart(f"the source `{source}` has no {attribute}; define `{attribute} = {kind.__name__}(...)` in {file}")
    return found
