"""One byte string for one value, so that equal identities hash equally on every machine.

What belongs here: the encoder, its hash, and the field-by-field difference of two identity payloads. Only plain data is
accepted: a callable, a path, a float that is not finite or an object with a default `repr` raises, because its text could
change between machines or runs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plain(value: Any, where: str = "value") -> Any:
    """Reduce `value` to JSON data: mappings with string keys, lists, strings, numbers, booleans, null.

    Sets become sorted lists, pydantic models their field mapping, enums their value, dates their ISO form. A float without a
    fraction becomes an integer, so that 8 and 8.0, which are one threshold, are one text in JSON.

    Raises:
        TypeError: the value has no canonical form; the message names its place and type, and the remedy.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}, which has no canonical form; use null or a finite number")
        return int(value) if value == int(value) else value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, BaseModel):
        return plain(value.model_dump(), where)
    if isinstance(value, Mapping):
        out = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be strings")
            out[key] = plain(item, f"{where}.{key}")
        return out
    if isinstance(value, Set):
        return sorted((plain(v, f"{where}[]") for v in value), key=canonical_json)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise TypeError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which has no canonical form; "
        "pass plain data (its name, number or content hash) instead"
    )


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces. Raises TypeError as `plain` does."""
    return encode_plain(plain(value))


def encode_plain(value: Any) -> bytes:
    """Canonical JSON of what is known to be plain already, such as texts."""
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted path, old value, new value) for every leaf in which two plain payloads differ; absent is None."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new
