"""What stands beside the numbers of a report: who made them from what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from humanllm_assets.pages.page import Context

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step


def describe_context(step: Step, roles: tuple[str, ...]) -> Context:
    """Profile, engine, data and models behind a report's numbers."""
    profile = step.profile
    models = {}
    for role in roles:
        if role in profile.roles:
            model = profile.models[profile.roles[role].model]  # type: ignore[index]
            models[role] = f"{model.name} ({model.revision})"
    slices = ", ".join(f"{source}: {'/'.join(config.slices)}" for source, config in profile.sources.items())
    return Context(
        profile=profile.name,
        engine="vLLM, OpenAI-compatible server",
        data=slices,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        models=models,
        notes=profile.notes,
    )
