"""What each source brings with it: a module of its name in a folder, found when asked for.

No module of a source is imported by name here or by what uses this, so an asset's code version covers its own source alone
(`Node.code` names the modules; see `lineage/code_version.py`).
"""

from __future__ import annotations

import importlib
from typing import Any

from resources.errors import Explained


class MissingPart(Explained):
    """A source of the profile lacks one of its modules; the message names it and the file where it belongs."""


def load_part(folder: str, source: str, attribute: str) -> Any:
    """What the module `<folder>.<source>` holds under a name.

    Args:
        folder: a package, such as `humanllm_assets.filtering.rules`.
        attribute: name of the part, such as `RULES`.

    Raises:
        MissingPart: there is no such module, or it does not define the part.
    """
    module = f"{folder}.{source}"
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as e:
        if e.name != module:  # the module is there; what it imports is not
            raise
    except AttributeError:
        pass
    raise MissingPart(f"the source `{source}` has no {attribute}: define {attribute} in {module.replace('.', '/')}.py")
