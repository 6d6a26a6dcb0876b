"""Which code is running: the commit, and whether the tree differs from it."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Any

from resources.profile import PROJECT_ROOT


@cache
def code_state() -> dict[str, Any]:
    """`{"commit": ..., "dirty": ...}`; both null outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(PROJECT_ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None  # no git, or no repository: recorded as unknown
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": None if commit is None else bool(git("status", "--porcelain", "--untracked-files=no"))}
