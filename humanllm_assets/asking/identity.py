"""What of a role and its prompts decides an output: the part of an identity that every LLM asset shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resources.profile import Profile, RoleName
from resources.prompting.prompts import Prompt


def llm_identity(profile: Profile, role: RoleName, prompts: Sequence[str]) -> dict[str, Any]:
    """Model, sampling and prompts of one role; no endpoint, no concurrency."""
    configured = profile.roles[role]
    return {
        "model": profile.models[configured.model].identity,
        "sampling": configured.sampling(),
        "prompts": {name: Prompt.load(name).identity for name in prompts},
    }
