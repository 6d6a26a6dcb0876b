"""HumanLLM as an asset graph: one folder per stage of the paper, each with its assets and the plain functions behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Node
    from resources.home import Home
    from resources.profile import Profile


def assets_of_profile(profile: Profile, home: Home) -> list[Node]:
    """Every node of the graph, stage by stage."""
    from humanllm_assets.evaluation import assets as evaluation
    from humanllm_assets.filtering import assets as filtering
    from humanllm_assets.quality import assets as quality
    from humanllm_assets.sources import assets as sources
    from humanllm_assets.synthesis import assets as synthesis
    from humanllm_assets.tasks import assets as tasks
    from humanllm_assets.training import assets as training

    stages = (sources, filtering, synthesis, quality, tasks, training, evaluation)
    return [node for stage in stages for node in stage.nodes(profile, home)]
