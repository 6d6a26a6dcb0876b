"""task_datasets: the training and test samples of every task-source pair that exists (T1-T7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.nodes import Dep, Node
from humanllm_assets.partitions import Partitions, parse_pair
from humanllm_assets.tables import DROPPED_SAMPLES, SAMPLES
from humanllm_assets.tasks.plans import TABLES_READ, create_catalogue
from humanllm_assets.tasks.samples import build_samples, dropped_samples, plan_samples
from resources.profile import site_of
from resources.prompting.prompts import PROMPTS, Prompt
from resources.sources import SOURCES

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile

_SYNTHESIZED = {"profiles": "user_profiles", "scenarios": "scenarios", "social_qa": "social_qa"}


def _reading(table: str) -> tuple[str, ...]:
    return tuple(task for task, tables in TABLES_READ.items() if table in tables)


def nodes(profile: Profile, home: Home) -> list[Node]:
    parts = Partitions(profile)
    deps = [parts.pairs_on_slices(f"filtered_{s}", s, _reading("records")) for s in parts.profile_sources]
    if "reddit_comments" in parts.sources:
        deps.append(parts.pairs_on_slices("filtered_reddit_comments", "reddit_comments", _reading("comments")))
    if "amazon" in parts.sources:
        deps.append(parts.pairs_on_slices("eligible_amazon", "amazon", _reading("catalogue")))
    deps += [
        parts.pairs_on_source("user_profiles", parts.profile_sources, _reading("profiles")),
        parts.pairs_on_source("scenarios", parts.scenario_sources, _reading("scenarios")),
        parts.pairs_on_source("social_qa", parts.scenario_sources, _reading("social_qa")),
    ]
    judged = tuple({t for table in _SYNTHESIZED for t in _reading(table)})
    deps.append(parts.pairs_on_source("qc_scores", parts.profile_sources, judged))
    return [
        Node(
            name="task_datasets",
            group="tasks",
            description="Samples of one task and source in ShareGPT form, split by user (T1-T7). Histories and personas hold only what is "
            "earlier than the target; every open prompt names the wanted length; item selection has 20 candidates.",
            kinds=frozenset({"duckdb", "parquet"}),
            tables={"samples": SAMPLES, "dropped": DROPPED_SAMPLES},
            partitions=parts.pairs,
            deps=tuple(Dep(d.asset, d.parents) for d in deps if d.parents),
            identity=lambda partition: {
                "tasks": profile.thresholds.tasks,
                "templates": _templates(),
                "text_kind": SOURCES[parse_pair(partition)[1]].text_kind,
            },
            compute=_task_datasets,
            contract=Contract.load("task_datasets", profile.thresholds),
        )
    ]


def _templates() -> dict[str, Any]:
    return {t.stem: Prompt.load(f"tasks/{t.stem}").identity for t in sorted((PROMPTS / "tasks").glob("*.md"))}


def _task_datasets(step: Step) -> None:
    task, source = parse_pair(step.partition)
    read = TABLES_READ[task]
    if "records" in read:
        step.records("records", f"filtered_{source}")
    if "comments" in read:
        step.records("comments", "filtered_reddit_comments")
    if "catalogue" in read:
        step.records("eligible", "eligible_amazon")
        create_catalogue(step.con, "eligible")
    step.view("verdicts", "qc_scores", "scores")
    for view, asset in _SYNTHESIZED.items():
        if view in read:
            step.view(f"all_{view}", asset, "items")
            step.con.execute(
                f"create view {view} as select * from all_{view} semi join (from verdicts where kept) using (item_id)"
            )
    limits = step.profile.thresholds.tasks
    counts = plan_samples(step.con, step.partition, limits)
    step.writer.write("samples", build_samples(step.con, step.partition, limits))
    step.writer.write("dropped", dropped_samples(step.con))
    step.count(entered=counts.considered, kept=counts.kept, dropped=counts.dropped)
    step.measures |= _laws(step, limits.candidates, "profiles" in read)
    step.measures["user_source"] = site_of(source)


def _laws(step: Step, candidates: int, shows_profiles: bool) -> dict[str, int]:
    """Counts of samples that break a law; the contract wants zero of each. Measured on what was written."""
    samples = f"read_parquet('{step.writer.finish('samples')}')"
    both, wrong, train, test = step.con.execute(f"""
        select (select count(*) from (select user_id from {samples} group by 1 having count(distinct split) > 1)),
               (select count(*) from {samples} where task = 'item_selection' and json_array_length(options) <> {candidates}),
               (select count(*) from {samples} where split = 'train'), (select count(*) from {samples} where split = 'test')
    """).fetchall()[0]
    late = 0
    if shows_profiles:
        late = step.con.execute(f"""
            select count(*) from (select sample_id, target_record_id, created_at, unnest(item_ids) as item_id from {samples}
                                  where target_record_id is not null) s
            join profiles p using (item_id) where p.cutoff_at >= s.created_at or list_contains(p.record_ids, s.target_record_id)
        """).fetchall()[0][0]
    return {
        "users_in_both_splits": both,
        "wrong_candidate_count": wrong,
        "target_not_after_persona": late,
        "train_samples": train,
        "test_samples": test,
    }
