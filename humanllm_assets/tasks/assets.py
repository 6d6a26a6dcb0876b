"""task_datasets: the training and test samples of every task-source pair that exists (T1-T7); contamination: what of the test split
and of public benchmarks stands in the training data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from humanllm_assets.contracts.suite import Contract, Lists
from humanllm_assets.lineage.nodes import Dep, Node, every
from humanllm_assets.partitions import Partitions, parse_pair
from humanllm_assets.sql import literal
from humanllm_assets.tables import CONTAMINATION, DROPPED_SAMPLES, HELD_OUT, OVERLAPS, SAMPLES
from humanllm_assets.tasks.contamination import HELD_OUT_QUERY, OVERLAPS_QUERY, SUMMARY_QUERY, measure_contamination
from humanllm_assets.tasks.samples import build_samples, dropped_samples, plan_samples
from humanllm_assets.tasks.task import IncompleteTask, load_task, module_of
from resources.profile import TASKS, site_of
from resources.prompting.prompts import Prompt, PromptError
from resources.sources import SOURCES

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile

_SYNTHESIZED = {"profiles": "user_profiles", "scenarios": "scenarios", "social_qa": "social_qa"}
TABLES = ("records", "comments", "posts", "eligible", "topics", *_SYNTHESIZED)
"""What a task can read: the filtered records of its source, filtered Reddit comments and the filtered posts that they answer,
eligible Amazon records, the topics of records, and the synthesized items that passed the judge; with the columns of `humanllm_assets/tables.py`."""


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage."""
    check_tasks(TASKS)
    parts = Partitions(profile)
    return [_declare_task_datasets(profile, parts), _declare_contamination(profile, parts)]


def check_tasks(tasks: Iterable[str]) -> None:
    """See that every task is complete.

    Raises:
        IncompleteTask: a task has no module, no usable prompt, or reads a table that nobody provides.
    """
    for name in tasks:
        task, file = load_task(name), f"humanllm_assets/tasks/{name}.py"
        if unknown := [t for t in task.tables if t not in TABLES]:
            raise IncompleteTask(f"the task `{name}` reads {', '.join(unknown)}; in {file} name tables of: {', '.join(TABLES)}")
        if not task.templates:
            raise IncompleteTask(f"the task `{name}` has no prompt; name its `templates` in {file}")
        for template in task.templates:
            try:
                Prompt.load(template)
            except PromptError as e:
                raise IncompleteTask(f"the task `{name}` has no usable prompt prompts/{template}.md: {e}") from e


def task_lists(tasks: Iterable[str]) -> Lists:
    """The list that the contract of task_datasets reads: the tasks."""
    return {"tasks": [{"task": task} for task in tasks]}


def _tasks_that_read(table: str) -> tuple[str, ...]:
    return tuple(task for task in TASKS if table in load_task(task).tables)


def _task_deps(parts: Partitions) -> list[Dep]:
    deps = []
    for s in parts.profile_sources:
        answers = parts.pairs_on_answered(f"filtered_{s}", s, _tasks_that_read("posts"))
        records = parts.pairs_on_slices(f"filtered_{s}", s, _tasks_that_read("records"))
        deps.append(Dep(f"filtered_{s}", {**records.parents, **answers.parents}))
    if "reddit_comments" in parts.sources:
        deps.append(parts.pairs_on_slices("filtered_reddit_comments", "reddit_comments", _tasks_that_read("comments")))
    if "amazon" in parts.sources:
        deps.append(parts.pairs_on_slices("eligible_amazon", "amazon", _tasks_that_read("eligible")))
    deps += [
        parts.pairs_on_source("user_profiles", parts.profile_sources, _tasks_that_read("profiles")),
        parts.pairs_on_source("writing_topics", parts.profile_sources, _tasks_that_read("topics")),
        parts.pairs_on_source("scenarios", parts.scenario_sources, _tasks_that_read("scenarios")),
        parts.pairs_on_source("social_qa", parts.scenario_sources, _tasks_that_read("social_qa")),
    ]
    judged = tuple({t for table in _SYNTHESIZED for t in _tasks_that_read(table)})
    deps.append(parts.pairs_on_source("qc_scores", parts.profile_sources, judged))
    return [d for d in deps if d.parents]


def _declare_task_datasets(profile: Profile, parts: Partitions) -> Node:
    return Node(
        name="task_datasets",
        group="tasks",
        description="Samples of one task and source in ShareGPT form, split by user (T1-T7). Histories and personas hold only what is "
        "earlier than the target; every open prompt names the wanted length; item selection has 20 candidates.",
        kinds=frozenset({"duckdb", "parquet"}),
        tables={"samples": SAMPLES, "dropped": DROPPED_SAMPLES},
        partitions=parts.pairs,
        deps=tuple(_task_deps(parts)),
        identity=lambda pair: _task_identity(profile, *parse_pair(pair)),
        code=lambda pair: (module_of(parse_pair(pair)[0]),),
        compute=_task_datasets,
        contract=Contract.load("task_datasets", profile.thresholds, lists=task_lists(TASKS)),
    )


def _task_identity(profile: Profile, name: str, source: str) -> dict[str, object]:
    task = load_task(name)
    return {
        "tasks": profile.thresholds.tasks,
        "person": task.person_kinds,
        "text_kind": task.text_kind_of(source),
        "templates": {template: Prompt.load(template).identity for template in task.templates},
    }


def _task_datasets(step: Step) -> None:
    name, source = parse_pair(step.partition)
    tables = load_task(name).tables
    if "records" in tables:
        step.records("records", f"filtered_{source}")
    if "comments" in tables:
        step.records("comments", "filtered_reddit_comments")
    if "posts" in tables:
        step.records("posts", f"filtered_{SOURCES[source].answers}")
    if "eligible" in tables:
        step.records("eligible", "eligible_amazon")
    if "topics" in tables:
        step.view("topics", "writing_topics", "items")
    step.view("verdicts", "qc_scores", "scores")
    for view, asset in _SYNTHESIZED.items():
        if view in tables:
            step.view(f"all_{view}", asset, "items")
            step.con.execute(
                f"create view {view} as select * from all_{view} semi join (from verdicts where kept) using (item_id)"
            )
    limits = step.profile.thresholds.tasks
    counts = plan_samples(step.con, step.partition, limits)
    step.writer.write("samples", build_samples(step.con, step.partition, limits))
    step.writer.write("dropped", dropped_samples(step.con))
    step.count(entered=counts.entered, kept=counts.kept, dropped=counts.dropped)
    step.measures |= _measure_laws(step, limits.candidates, tables)
    step.measures["user_source"] = site_of(source)


def _measure_laws(step: Step, candidates: int, tables: Collection[str]) -> dict[str, int]:
    """Counts of samples that break a law; the contract requires zero of each. Measured on what was written."""
    samples = f"read_parquet({literal(step.writer.finish('samples'))})"
    users = f"select user_id, split from {samples}"
    if "posts" in tables:  # who wrote what is shown counts like the one whose sample it is
        users += f" union all select p.user_id, split from (select split, unnest(record_ids) as id from {samples}) join posts p on p.record_id = id"
    both, wrong, train, test = step.con.execute(f"""
        select (select count(*) from (select user_id from ({users}) group by 1 having count(distinct split) > 1)),
               (select count(*) from {samples} where task = 'item_selection' and json_array_length(options) <> {candidates}),
               (select count(*) from {samples} where split = 'train'), (select count(*) from {samples} where split = 'test')
    """).fetchall()[0]
    late = 0
    if "profiles" in tables:
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


# ---- contamination ---------------------------------------------------------------------------------------------------


def _declare_contamination(profile: Profile, parts: Partitions) -> Node:
    # Questions of our own tasks are made of test samples, so that a training run need not wait for the writers of distractors.
    public = tuple(name for name, benchmark in profile.benchmarks.items() if benchmark.folder)
    limits = profile.thresholds.contamination
    return Node(
        name="contamination",
        group="tasks",
        description="How much of the test split's prompts and answers, and of the public benchmarks, stands word by word in the training "
        "samples. Nothing is trained or scored while more leaks than the profile allows.",
        kinds=frozenset({"duckdb", "parquet"}),
        tables={"summary": CONTAMINATION, "held_out": HELD_OUT, "overlaps": OVERLAPS},
        deps=(
            Dep("task_datasets", every(("",), parts.pairs)),
            *([Dep("benchmark_items", every(("",), public), asks=False)] if public else ()),
        ),
        identity=lambda _: {"contamination": limits.model_dump(exclude={"max_leaking", "severity"})},  # those two: the contract's
        compute=_contamination,
        contract=Contract.load("contamination", profile.thresholds),
    )


def _contamination(step: Step) -> None:
    step.view("samples", "task_datasets", "samples")
    step.view("questions", "benchmark_items", "items")
    measure_contamination(step.con, "samples", "questions", step.profile.thresholds.contamination)
    step.copy("overlaps", OVERLAPS_QUERY)
    step.copy("held_out", HELD_OUT_QUERY)
    step.copy("summary", SUMMARY_QUERY)
    items, compared, leaking = step.con.execute(
        f"select sum(items), sum(compared), sum(leaking) from ({SUMMARY_QUERY})"
    ).fetchall()[0]
    items, compared = int(items or 0), int(compared or 0)
    step.count(entered=items, kept=compared, dropped={"too_short": items - compared})
    step.measures["leaking_items"] = int(leaking or 0)
