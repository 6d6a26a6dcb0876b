"""The table of contents of the graph: which stages there are, in the order of the paper, and the nodes that each declares.

What belongs here: groups, owners, the list of stages. What does not: what an asset computes (the stages' `assets.py`), Dagster
(`orchestration/`)."""

from __future__ import annotations

from humanllm_assets.evaluation import assets as evaluation
from humanllm_assets.filtering import assets as filtering
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.quality import assets as quality
from humanllm_assets.sources import assets as sources
from humanllm_assets.synthesis import assets as synthesis
from humanllm_assets.tasks import assets as tasks
from humanllm_assets.training import assets as training
from resources.home import Home, home_of
from resources.profile import Profile

GROUPS = {
    "sources": "1. Sources: files as they came, fingerprinted",
    "filtering": "2. Filtering: rules F1-F4, then rewriting and labels by an LLM (F5, F6)",
    "synthesis": "3. Synthesis: users (P), scenarios (E), social QA (B)",
    "quality": "4. Quality: a judge scores every synthesized item (Q1-Q4)",
    "tasks": "5. Tasks: training and test samples, split by user, in ShareGPT form (T1-T7)",
    "training": "6. Training: full fine-tuning and merging (M1-M3)",
    "evaluation": "7. Evaluation: contestants answer benchmarks (V1-V5)",
    "reporting": "8. Reports beside the paper's numbers (V6)",
}


OWNERS = {
    "sources": "team:data",
    "filtering": "team:data",
    "synthesis": "team:synthesis",
    "quality": "team:synthesis",
    "tasks": "team:synthesis",
    "training": "team:training",
    "evaluation": "team:evaluation",
    "reporting": "team:evaluation",
}


STAGES = (sources, filtering, synthesis, quality, tasks, training, evaluation)


def build_graph(profile: Profile, home: Home | None = None) -> Graph:
    """The nodes of one profile; everything that loads, plans or runs starts here."""
    home = home or home_of(profile)
    return Graph([node for stage in STAGES for node in stage.nodes(profile, home)])
