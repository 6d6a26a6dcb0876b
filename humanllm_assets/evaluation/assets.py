"""contestants, benchmark_items, benchmark_scores and the two reports (V1-V6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import read_rows
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.evaluation.applications import (
    application,
    application_answers,
    application_items,
    application_requests,
    judge_requests,
    reply_text,
)
from humanllm_assets.evaluation.fixed import motivebench_items, tombench_items
from humanllm_assets.evaluation.items import (
    CHOICE_SUBTASKS,
    Built,
    choice_items,
    choose_samples,
    item_selection_items,
    near_duplicates,
    write_distractors,
)
from humanllm_assets.evaluation.report_inputs import benchmark_inputs, funnel_inputs
from humanllm_assets.evaluation.reports import benchmark_report, funnel_report, page_files
from humanllm_assets.evaluation.scoring import choice_requests, choice_role, score_replies, summary_rows
from humanllm_assets.lineage.nodes import Dep, Node, StepError, every
from humanllm_assets.partitions import Partitions, parse_pair
from humanllm_assets.tables import ANSWERS, APPLICATION_ANSWERS, BENCHMARK_ITEMS, CONTESTANTS, FAILURES, REPORT_ROWS, SUMMARY
from humanllm_assets.training.assets import model_weights
from resources.models import model_folder, weights_digest
from resources.profile import Model, ProfileError, resolve_path
from resources.prompting.prompts import Prompt
from resources.sources import SOURCES

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile

_FUNNEL_ASSETS = ("user_profiles", "scenarios", "social_qa", "qc_scores", "task_datasets")


def nodes(profile: Profile, home: Home) -> list[Node]:
    parts = Partitions(profile)
    contestants, benchmarks = parts.contestants, parts.benchmarks
    merged = {c: (profile.contestants[c].recipe,) for c in contestants if profile.contestants[c].recipe}
    pairs = {b: parts.pairs_of_benchmark(b) for b in benchmarks}
    for name, benchmark in profile.benchmarks.items():
        if benchmark.kind == "application":
            wanted = application(str(benchmark.subset)).task
            pairs[name] = tuple(p for p in parts.pairs if parse_pair(p)[0] == wanted)
    listed = [
        Node(
            name="contestants",
            group="evaluation",
            description="Models that can be benchmarked: base models, merged models, external ones as folders or endpoints (V5), each with "
            "name, revision and the content hash of its weights.",
            kinds=frozenset({"huggingface"}),
            tables={"contestants": CONTESTANTS},
            partitions=contestants,
            deps=(Dep("merged_model", merged),) if merged else (),  # type: ignore[arg-type]
            identity=lambda c: _contestant_identity(profile, c),
            external=lambda c: model_weights(profile.models[m], home) if (m := profile.contestants[c].model) else {},
            compute=_contestants,
        ),
        Node(
            name="benchmark_items",
            group="evaluation",
            description="The fixed questions of a benchmark, the same for every contestant: in-domain choices among true and written answers with "
            "their controls (V1), MotiveBench (V2), ToMBench (V3), application requests (V4).",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"items": BENCHMARK_ITEMS, "failures": FAILURES},
            partitions=benchmarks,
            deps=(Dep("task_datasets", {b: p for b, p in pairs.items() if p}),) if any(pairs.values()) else (),
            identity=lambda b: _items_identity(profile, b),
            external=lambda b: _benchmark_files(profile, b),
            compute=_benchmark_items,
            contract=Contract.load("benchmark_items", profile.thresholds),
            uses_llm=True,
        ),
        Node(
            name="benchmark_scores",
            group="evaluation",
            description="Every answer of a contestant to a benchmark, and the scores with their intervals, chance and controls (V1-V5).",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"summary": SUMMARY, "answers": ANSWERS, "application_answers": APPLICATION_ANSWERS, "failures": FAILURES},
            partitions=parts.score_keys(),
            dimensions={"benchmark": benchmarks, "contestant": contestants},
            deps=(Dep("benchmark_items", parts.score_parents(0)), Dep("contestants", parts.score_parents(1))),
            identity=lambda key: _scores_identity(profile, key),
            compute=_benchmark_scores,
            contract=Contract.load("benchmark_scores", profile.thresholds),
            uses_llm=True,
            gated=True,
        ),
    ]
    counted = [f"{stage}_{s}" for s in parts.sources for stage in ("raw", "eligible", "filtered")]
    funnel_deps = [parts.all_slices(a, a.split("_", 1)[1]) for a in counted]
    keys = {"scenarios": parts.scenario_sources, "social_qa": parts.scenario_sources, "task_datasets": parts.pairs}
    funnel_deps += [Dep(a, every(("",), keys.get(a, parts.profile_sources))) for a in _FUNNEL_ASSETS]
    listed.append(
        Node(
            name="funnel_report",
            group="reporting",
            description="How many records, users, scenarios and questions each stage kept, and why it dropped the rest, beside the paper's "
            "Table A1 (V6). An HTML page.",
            kinds=frozenset({"html"}),
            tables={"rows": REPORT_ROWS},
            deps=tuple(funnel_deps),
            identity=lambda _: {**_report_identity(profile), "labels": {s: SOURCES[s].label for s in parts.sources}},
            compute=_funnel_report,
        )
    )
    if benchmarks and contestants:
        listed.append(
            Node(
                name="benchmark_report",
                group="reporting",
                description="All benchmark scores beside the paper's Tables 1-3, B2-B4 and Figure 2, with intervals and controls. An HTML page.",
                kinds=frozenset({"html"}),
                tables={"rows": REPORT_ROWS},
                deps=(
                    Dep("benchmark_scores", every(("",), parts.score_keys())),
                    Dep("benchmark_items", every(("",), benchmarks)),
                    Dep("contestants", every(("",), contestants)),
                ),
                identity=lambda _: _report_identity(profile),
                compute=_benchmark_report,
            )
        )
    return listed


# ---- contestants -----------------------------------------------------------------------------------------------------


def _contestant_identity(profile: Profile, name: str) -> dict[str, Any]:
    contestant = profile.contestants[name]
    if contestant.recipe:
        return {"recipe": contestant.recipe}
    return {"model": profile.models[str(contestant.model)].identity}


def _contestants(step: Step) -> None:
    contestant = step.profile.contestants[step.partition]
    home = step.runtime.home.root
    row: dict[str, Any] = {"contestant": step.partition}
    if contestant.recipe:
        snapshot = step.inputs["merged_model"][contestant.recipe]
        row |= {"kind": "merged", "model_name": contestant.recipe, "revision": snapshot.data_version}
        row["weights"] = weights_digest(snapshot.folder, home)
    else:
        model = step.profile.models[str(contestant.model)]
        here = bool(model.path or model.package)
        row |= {"kind": "base" if here else "external", "model_name": model.name, "revision": model.revision}
        row["weights"] = weights_digest(model_folder(model, home), home) if here else None
    step.write("contestants", [row])
    step.count(entered=1, kept=1, dropped={})


# ---- benchmark_items -------------------------------------------------------------------------------------------------


def _items_identity(profile: Profile, name: str) -> dict[str, Any]:
    benchmark = profile.benchmarks[name]
    identity: dict[str, Any] = {"benchmark": benchmark.model_dump(exclude={"folder", "max_tokens", "temperature", "distractors"})}
    if benchmark.distractors:
        identity["distractors"] = [
            {**d.model_dump(exclude={"model"}), "model": profile.models[d.model].identity, "name": d.model}
            for d in benchmark.distractors
        ]
        identity["sampling"] = profile.roles["contestant"].sampling()
    if benchmark.kind == "choice":
        identity["template"] = Prompt.load("benchmarks/true_answer").identity
    return identity


def _benchmark_files(profile: Profile, name: str) -> dict[str, Any]:
    """Content hashes of a public benchmark's files; null where they are not there yet."""
    from resources.files import sha256_file

    benchmark = profile.benchmarks[name]
    if benchmark.folder is None:
        return {}
    try:
        folder = resolve_path(benchmark.folder)
    except ProfileError:
        return {"files": None}  # planning goes on; the step itself stops with the profile's message
    files = sorted([*folder.rglob("*_questions.json"), *folder.rglob("*.jsonl")]) if folder.is_dir() else []
    return {"files": {str(f.relative_to(folder)): sha256_file(f) for f in files} or None}


def _benchmark_items(step: Step) -> None:
    benchmark = step.profile.benchmarks[step.partition]
    name = step.partition
    if benchmark.kind in ("motivebench", "tombench"):
        build = motivebench_items if benchmark.kind == "motivebench" else tombench_items
        items = build(resolve_path(str(benchmark.folder)), str(benchmark.subset), name, benchmark.max_items)
        built = Built(items)
    else:
        step.view("samples", "task_datasets", "samples")
        samples = list(read_rows(step.con, "select * from samples where split = 'test'"))
        if benchmark.kind == "application":
            built = Built(application_items(samples, name, str(benchmark.subset), benchmark.max_items))
        elif benchmark.kind == "item_selection":
            built = item_selection_items(samples, name, benchmark.max_items)
        else:
            built = _choice(step, samples)
    columns = [c.name for c in BENCHMARK_ITEMS]
    step.write("items", [{c: item.get(c) for c in columns} for item in built.items])
    step.write("failures", built.failures)
    step.count(entered=len(built.items) + built.dropped.total(), kept=len(built.items), dropped=built.dropped)
    step.measures["questions"] = sum(i["control"] == "none" for i in built.items)


def _choice(step: Step, samples: list[dict[str, Any]]) -> Built:
    benchmark, task = step.profile.benchmarks[step.partition], str(step.profile.benchmarks[step.partition].task)
    known = near_duplicates(step.con, "samples")
    chosen = choose_samples(samples, task, CHOICE_SUBTASKS[task], step.partition, benchmark.max_items)
    chosen = [s for s in chosen if s["sample_id"] not in known]
    written: dict[str, dict[str, str]] = {}
    failures: list[dict[str, Any]] = []
    if benchmark.distractors:
        written, failures = write_distractors(
            step.engine, chosen, benchmark.distractors, step.profile.roles["contestant"], step.log
        )
    built = choice_items(samples, step.partition, task, written, benchmark.max_items, known)
    built.failures = failures
    return built


# ---- benchmark_scores ------------------------------------------------------------------------------------------------


def _scores_identity(profile: Profile, key: str) -> dict[str, Any]:
    name, contestant = key.split("|")
    benchmark = profile.benchmarks[name]
    identity: dict[str, Any] = {
        "role": profile.roles["contestant"].sampling(),
        "max_tokens": benchmark.max_tokens,
        "temperature": benchmark.temperature,
        "base_model": _base_model(profile, contestant),
    }
    if benchmark.kind == "application":
        identity["judge"] = llm_identity(profile, "application_judge", [f"judge_application_{benchmark.subset}"])
    else:
        identity["template"] = Prompt.load("benchmarks/choice").identity
    return identity


def _base_model(profile: Profile, contestant: str) -> str:
    """Profile key of the model that a contestant is or was made from; distractors written by it are not shown to it."""
    config = profile.contestants[contestant]
    return profile.recipes[config.recipe].base_model if config.recipe else str(config.model)


def _contestant_model(step: Step, contestant: str) -> str:
    """Make the contestant askable; returns its model key."""
    config = step.profile.contestants[contestant]
    if config.model:
        return config.model
    recipe = str(config.recipe)
    merged = step.runtime.store.published("merged_model", recipe)
    row = step.con.execute("select revision from contestant").fetchall()[0]
    if merged is None or merged.data_version != row[0]:
        raise StepError(
            f"contestants[{contestant}] is older than merged_model[{recipe}]; run: humanllm materialize 'contestants[{contestant}]'"
        )
    base = step.profile.models[step.profile.recipes[recipe].base_model]
    step.engine.add_model(
        contestant,
        Model(name=contestant, revision=merged.data_version, path=str(merged.folder), max_model_len=base.max_model_len),
    )
    return contestant


def _benchmark_scores(step: Step) -> None:
    name, contestant = step.partition.split("|")
    benchmark = step.profile.benchmarks[name]
    step.view("items", "benchmark_items", "items")
    step.view("contestant", "contestants", "contestants")
    items = list(read_rows(step.con, "select * from items order by item_id"))
    model = _contestant_model(step, contestant)
    role = choice_role(step.profile.roles["contestant"], benchmark, model)
    if benchmark.kind == "application":
        _ask_application(step, items, role, contestant)
        return
    own = (_base_model(step.profile, contestant),)
    first = benchmark.kind == "motivebench"
    replies = step.engine.ask(role, choice_requests(items, own), label=step.partition, log=step.log, total=len(items))
    answers = list(score_replies(items, replies, contestant, own, first))
    columns = [c.name for c in ANSWERS]
    step.write("answers", [{c: a.get(c) for c in columns} for a in answers])
    step.write("summary", summary_rows(benchmark.kind, items, answers))
    step.count(entered=len(items), kept=len(answers), dropped={})
    step.measures |= {
        "items": len(items),
        "invalid_rate": sum(a["chosen"] is None for a in answers) / len(answers) if answers else 0.0,
    }


def _ask_application(step: Step, items: list[dict[str, Any]], role: Any, contestant: str) -> None:
    name = str(step.profile.benchmarks[step.partition.split("|")[0]].subset)
    replies = step.engine.ask(role, application_requests(items), label=step.partition, log=step.log, total=len(items))
    texts = {reply.key: reply_text(reply) for reply in replies}
    verdicts = {}
    judge = step.profile.roles["application_judge"]
    asked = judge_requests(name, items, texts)
    for reply in step.engine.ask(judge, asked, label=f"judge {step.partition}", log=step.log, total=len(items)):
        verdicts[reply.key] = reply.value
        if reply.value is None:
            step.write(
                "failures",
                [{"item_id": reply.key, "prompt": f"judge_application_{name}", "reason": reply.reason, "raw": reply.raw}],
            )
    answers = list(application_answers(name, contestant, items, texts, verdicts))
    step.write("application_answers", answers)
    step.write("summary", summary_rows("application", items, answers))
    per_item = len({a["metric"] for a in answers}) or 1
    step.count(entered=len(items) * per_item, kept=len(answers), dropped={})
    step.measures |= {
        "items": len(items),
        "invalid_rate": sum(a["score"] is None for a in answers) / len(answers) if answers else 0.0,
    }


# ---- reports ---------------------------------------------------------------------------------------------------------


def _publish_report(step: Step, page: str, html: str, rows: list[dict[str, Any]]) -> None:
    (step.writer.folder / page).write_text(html, encoding="utf-8")
    step.writer.volatile(page)  # it shows when it was made; the numbers are the table
    step.write("rows", rows)
    step.count(entered=len(rows), kept=len(rows), dropped={})
    step.measures["report"] = page


def _report_identity(profile: Profile) -> dict[str, Any]:
    return {"notes": profile.notes, "profile": profile.name, "page": page_files()}


def _funnel_report(step: Step) -> None:
    _publish_report(step, "funnel_report.html", *funnel_report(funnel_inputs(step)))


def _benchmark_report(step: Step) -> None:
    _publish_report(step, "benchmark_report.html", *benchmark_report(benchmark_inputs(step)))
