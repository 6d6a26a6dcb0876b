"""What the questions of a benchmark and their scoring agree on."""

from __future__ import annotations

MIN_DISTRACTORS = 3  # a question keeps at least this many, or all when fewer are configured
CONTROLS = ("none", "options_only", "no_persona", "other_persona")
