"""Every prompt of the project is in the identity of what is made with it."""

from __future__ import annotations

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.identity import find_prompts
from resources.home import Home
from resources.item_kinds import ITEM_KINDS, USER_TEXTS
from resources.profile import load_profile
from resources.prompting.prompts import PROMPTS


def test_every_prompt_decides_an_asset(tmp_path):
    graph = build_graph(load_profile("paper"), Home(tmp_path))
    named = {
        node.name: {p.name for partition in node.partitions for p in find_prompts(node.own_identity(partition))}
        for node in graph.nodes.values()
    }
    files = {str(path.relative_to(PROMPTS).with_suffix("")) for path in PROMPTS.rglob("*.md")}
    assert set().union(*named.values()) == files
    # what judges an item, and what wrote it: an echo of that is stopped before a judge is asked
    assert named["qc_scores"] == {prompt for kind in ITEM_KINDS for prompt in (kind.judge_prompt, kind.prompt)}
    assert named["user_profiles"] == {kind.prompt for kind in USER_TEXTS}
