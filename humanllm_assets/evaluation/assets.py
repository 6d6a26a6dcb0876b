"""contestants, benchmark_items, benchmark_scores and the two reports (V1-V6).

What belongs here: declaring the nodes, each followed by what computes it. What does not: anything of one kind of benchmark
(`benchmarks/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.questions import Sink, Tally, llm_measures
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.evaluation.benchmark_inputs import benchmark_inputs
from humanllm_assets.evaluation.benchmark_report import benchmark_report
from humanllm_assets.evaluation.benchmarks import kinds_of, list_kinds, load_kind
from humanllm_assets.evaluation.contest import Contest, contestant_role
from humanllm_assets.evaluation.funnel_inputs import funnel_inputs
from humanllm_assets.evaluation.funnel_report import funnel_report
from humanllm_assets.evaluation.paper import page_files
from humanllm_assets.filtering.rule import reasons
from humanllm_assets.lineage.nodes import Dep, Node, StepError, every
from humanllm_assets.partitions import Partitions, parse_score_key
from humanllm_assets.quality.assets import judged_sources
from humanllm_assets.sql import read_rows
from humanllm_assets.tables import (
    ANSWERS,
    APPLICATION_ANSWERS,
    BENCHMARK_ITEMS,
    CONTESTANTS,
    FAILURES,
    FUNNEL_RATES,
    REPORT_ROWS,
    SUMMARY,
)
from humanllm_assets.training.assets import model_weights
from resources.files import FileHashes
from resources.models import model_folder, weights_digest
from resources.profile import TASKS, ProfileError, resolve_path
from resources.sources import SOURCES
from resources.thresholds import SourceBands

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Benchmark, Profile

_FUNNEL_ASSETS = ("user_profiles", "scenarios", "social_qa", "qc_scores", "human_check", "task_datasets")
_VERDICTS = {"answers": "chosen", "application_answers": "score"}  # the column that is null for an invalid reply, by table


def nodes(profile: Profile, home: Home) -> list[Node]:
    """Contestants, benchmarks and reports; without benchmarks or contestants there is nothing to report of them.

    Raises:
        ProfileError: a benchmark of an unknown kind, or one that lacks what its kind needs.
    """
    parts = Partitions(profile)
    found = [
        _declare_contestants(parts, home),
        _declare_items(parts, home),
        _declare_scores(parts),
        _declare_funnel_report(parts),
    ]
    return [*found, _declare_benchmark_report(parts)] if parts.score_keys() else found


# ---- contestants -----------------------------------------------------------------------------------------------------


def _declare_contestants(parts: Partitions, home: Home) -> Node:
    profile = parts.profile
    merged = {c: (recipe,) for c in parts.contestants if (recipe := profile.contestants[c].recipe)}
    return Node(
        name="contestants",
        group="evaluation",
        description="Models that can be benchmarked: base models, merged models, external ones as folders or endpoints (V5), each with "
        "name, revision and the content hash of its weights.",
        kinds=frozenset({"huggingface"}),
        tables={"contestants": CONTESTANTS},
        partitions=parts.contestants,
        deps=(Dep("merged_model", merged),) if merged else (),
        identity=lambda c: _contestant_identity(profile, c),
        external=lambda c: model_weights(profile.models[m], home) if (m := profile.contestants[c].model) else {},
        compute=_contestants,
    )


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


def _declare_items(parts: Partitions, home: Home) -> Node:
    profile, kinds = parts.profile, kinds_of(parts.profile)
    pairs = {name: found for name, kind in kinds.items() if (found := kind.pairs(parts, name))}
    return Node(
        name="benchmark_items",
        group="evaluation",
        description="The fixed questions of a benchmark, the same for every contestant: in-domain choices among true and written answers with "
        "their controls (V1), MotiveBench (V2), ToMBench (V3), application requests (V4).",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"items": BENCHMARK_ITEMS, "failures": FAILURES},
        partitions=parts.benchmarks,
        deps=(Dep("task_datasets", pairs),) if pairs else (),
        identity=lambda b: _items_identity(profile, b),
        external=lambda b: _benchmark_files(profile.benchmarks[b], home),
        calls=lambda b: (kinds[b].build,),
        compute=_benchmark_items,
        contract=Contract.load("benchmark_items", profile.thresholds),
        uses_llm=True,
    )


def _items_identity(profile: Profile, name: str) -> dict[str, Any]:
    benchmark = profile.benchmarks[name]
    own = benchmark.model_dump(exclude={"folder", "max_tokens", "temperature", "distractors"})
    return {"benchmark": own, **load_kind(benchmark.kind).items_identity(profile, benchmark)}


def _benchmark_files(benchmark: Benchmark, home: Home) -> dict[str, Any]:
    """Content hashes of every file of a public benchmark's folder but hidden ones; null where there are none yet."""
    if benchmark.folder is None:
        return {}
    try:
        folder = resolve_path(benchmark.folder)
    except ProfileError:
        return {"files": None}  # planning goes on; the step itself stops with the profile's message
    names = [f.relative_to(folder) for f in sorted(folder.rglob("*")) if f.is_file()]
    names = [n for n in names if not any(part.startswith(".") for part in n.parts)]
    hashes = FileHashes(home.root).sha256([folder / n for n in names])
    return {"files": dict(zip(map(str, names), hashes, strict=True)) or None}


def _benchmark_items(step: Step) -> None:
    kind = load_kind(step.profile.benchmarks[step.partition].kind)
    counts = Tally()
    with Sink(step.write) as sink:
        built = kind.build(step, counts, sink)
    columns = [c.name for c in BENCHMARK_ITEMS]
    step.write("items", [{c: item.get(c) for c in columns} for item in built.items])
    step.count(entered=len(built.items) + built.dropped.total(), kept=len(built.items), dropped=built.dropped)
    step.measures["questions"] = sum(i["control"] == "none" for i in built.items)
    llm_measures(step, counts.check())


# ---- benchmark_scores ------------------------------------------------------------------------------------------------


def _declare_scores(parts: Partitions) -> Node:
    profile, kinds = parts.profile, kinds_of(parts.profile)

    def list_calls(key: str) -> tuple[Any, ...]:
        kind = kinds[parse_score_key(key).benchmark]
        return kind.answer, kind.summarise

    return Node(
        name="benchmark_scores",
        group="evaluation",
        description="Every answer of a contestant to a benchmark, and the scores with their intervals, chance and controls (V1-V5).",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"summary": SUMMARY, "answers": ANSWERS, "application_answers": APPLICATION_ANSWERS, "failures": FAILURES},
        partitions=parts.score_keys(),
        dimensions={"benchmark": parts.benchmarks, "contestant": parts.contestants},
        deps=(
            parts.benchmarks_of_scores("benchmark_items"),
            parts.contestants_of_scores("contestants"),
            Dep("contamination", every(parts.score_keys(), ("",)), asks=False, guard=True),
        ),
        identity=lambda key: _scores_identity(profile, key),
        calls=list_calls,
        compute=_benchmark_scores,
        contract=Contract.load("benchmark_scores", profile.thresholds),
        uses_llm=True,
        gated=True,
    )


def _scores_identity(profile: Profile, key: str) -> dict[str, Any]:
    name, contestant = parse_score_key(key)
    benchmark = profile.benchmarks[name]
    base = _base_model(profile, contestant)
    arguments = profile.models[base].chat_template_arguments  # a merged model is asked as its base is
    return {
        "role": profile.roles["contestant"].sampling(),
        "max_tokens": benchmark.max_tokens,
        "temperature": benchmark.temperature,
        "base_model": base,
        **({"chat_template_arguments": arguments} if arguments else {}),
        **load_kind(benchmark.kind).scores_identity(profile, benchmark),
    }


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
    step.engine.add_model(contestant, base.trained(contestant, merged.data_version, merged.folder))
    return contestant


def _benchmark_scores(step: Step) -> None:
    name, contestant = parse_score_key(step.partition)
    benchmark = step.profile.benchmarks[name]
    kind = load_kind(benchmark.kind)
    step.view("items", "benchmark_items", "items")
    step.view("contestant", "contestants", "contestants")
    items = list(read_rows(step.con, "select * from items order by item_id"))
    role = contestant_role(step.profile.roles["contestant"], benchmark, _contestant_model(step, contestant))
    counts = Tally()
    with Sink(step.write) as sink:
        base = _base_model(step.profile, contestant)
        answers = kind.answer(Contest(step, benchmark, contestant, base, role, items, counts, sink))
    columns = [c.name for c in step.node.tables[kind.answers_table]]
    step.write(kind.answers_table, [{c: a.get(c) for c in columns} for a in answers])
    step.write("summary", kind.summarise(items, answers))
    rows_per_item = len({a.get("metric") for a in answers}) or 1
    # A text that was not written or not judged keeps its rows, without a score; a choice that was not answered has none.
    unanswered = counts.failed.total() if kind.answers_table == "answers" else 0
    step.count(entered=len(items) * rows_per_item, kept=len(answers), dropped={"unanswered": unanswered} if unanswered else {})
    invalid = sum(a[_VERDICTS[kind.answers_table]] is None for a in answers)
    step.measures |= {"items": len(items), "invalid_rate": invalid / len(answers) if answers else 0.0}
    llm_measures(step, counts.check())


# ---- reports ---------------------------------------------------------------------------------------------------------


def _publish_report(step: Step, page: str, html: str, rows: list[dict[str, Any]]) -> None:
    (step.writer.folder / page).write_text(html, encoding="utf-8")
    step.writer.volatile(page)  # it shows when it was made; the numbers are the table
    step.write("rows", rows)
    step.count(entered=len(rows), kept=len(rows), dropped={})
    step.measures["report"] = page


def _report_identity(profile: Profile) -> dict[str, Any]:
    return {
        "notes": profile.notes,
        "profile": profile.name,
        "page": page_files(),
        "titles": {name: task.title for name, task in TASKS.items()},
    }


def _row_of(source: str) -> dict[str, Any]:
    """What Table A1 knows of a source."""
    facts = SOURCES[source]
    return {"label": facts.label, "in_total": facts.has_profiles}


def _declare_funnel_report(parts: Partitions) -> Node:
    counted = [f"{stage}_{s}" for s in parts.sources for stage in ("raw", "eligible", "filtered")]
    deps = [parts.all_slices(a, a.split("_", 1)[1]) for a in counted]
    keys = {
        "scenarios": parts.scenario_sources,
        "social_qa": parts.scenario_sources,
        "task_datasets": parts.pairs,
        "human_check": ("",),
    }
    deps += [Dep(a, every(("",), keys.get(a, parts.profile_sources))) for a in _FUNNEL_ASSETS]
    deps += [Dep(a, every(("",), tuple(judged_sources(parts.profile)))) for a in ("judge_calibration", "judge_approval")]
    return Node(
        name="funnel_report",
        group="reporting",
        description="How many records, users, scenarios and questions each stage kept, and why it dropped the rest, beside the paper's "
        "Table A1 (V6), and how good the judge is. An HTML page.",
        kinds=frozenset({"html"}),
        tables={"rows": REPORT_ROWS, "rates": FUNNEL_RATES},
        deps=tuple(deps),
        identity=lambda _: {
            **_report_identity(parts.profile),
            "sources": {s: _row_of(s) for s in parts.sources},
            "bands": {s: _known_bands(parts.profile, s) for s in parts.sources},
            "rules": {s: reasons(s, parts.profile.thresholds.rules_of(s)) for s in parts.sources},
            "qc": parts.profile.thresholds.qc.model_dump(include={"overall_above", "metric_above"}),
        },
        compute=_funnel_report,
        contract=Contract.load("funnel_report", parts.profile.thresholds),
    )


def _known_bands(profile: Profile, source: str) -> SourceBands:
    """Raises ProfileError for a band of a rule that the source does not have: it would never warn."""
    bands, rules = profile.thresholds.bands_of(source), reasons(source, profile.thresholds.rules_of(source))
    if unknown := sorted({*bands.by_rule} - {*rules}):
        where = f"thresholds.bands.{source}.by_rule"
        raise ProfileError(f"{where} names `{unknown[0]}`, which is no rule of {source}; its rules are {', '.join(rules)}")
    return bands


def _funnel_report(step: Step) -> None:
    inputs = funnel_inputs(step)
    _publish_report(step, "funnel_report.html", *funnel_report(inputs))
    step.write("rates", inputs.rates)


def _declare_benchmark_report(parts: Partitions) -> Node:
    kinds = [load_kind(name) for name in list_kinds()]
    return Node(
        name="benchmark_report",
        group="reporting",
        description="All benchmark scores beside the paper's Tables 1-3, B2-B4 and Figure 2, with intervals and controls. An HTML page.",
        kinds=frozenset({"html"}),
        tables={"rows": REPORT_ROWS},
        deps=(
            Dep("benchmark_scores", every(("",), parts.score_keys())),
            Dep("benchmark_items", every(("",), parts.benchmarks)),
            Dep("contestants", every(("",), parts.contestants)),
            Dep("contamination", every(("",), ("",))),
        ),
        identity=lambda _: _report_identity(parts.profile),
        calls=lambda _: [part for kind in kinds for part in (kind.summarise, kind.tables, kind.sections)],
        compute=_benchmark_report,
    )


def _benchmark_report(step: Step) -> None:
    _publish_report(step, "benchmark_report.html", *benchmark_report(benchmark_inputs(step)))
