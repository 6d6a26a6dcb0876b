"""The letters by which options are shown: what tasks and benchmarks agree on."""

from __future__ import annotations

import string

LABELS = string.ascii_uppercase
