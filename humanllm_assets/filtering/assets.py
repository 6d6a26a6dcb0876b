"""eligible_*: rules F1-F4 in SQL; amazon_core: the k-core over all categories; filtered_*: rewriting and labels (F5, F6)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.filtering.privacy.finding import detector_identity
from humanllm_assets.filtering.rewriting import Rules, rewrite_and_label
from humanllm_assets.filtering.rule import load_rules, selection_rules
from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets.filtering.verdicts import SliceFilter
from humanllm_assets.lineage.nodes import NO_PARTITION, Dep, Node, same
from humanllm_assets.lineage.tombstones import (
    empty_slots,
    forgotten_identity,
    forgotten_users,
    gone_posts,
    slots_identity,
)
from humanllm_assets.partitions import Partitions
from humanllm_assets.sources.assets import check_slice, count_differing_rows
from humanllm_assets.sources.readers import ReadReport, read_context, read_parts, show_progress
from humanllm_assets.sql import literal
from humanllm_assets.tables import CORE, DROPPED, FAILURES, FILTERED, QUARANTINE, RECORDS
from resources.prompting.prompts import Prompt
from resources.sources import SOURCES, AmazonRules
from resources.thresholds import RECORD_GATES

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def _code_of(source: str) -> tuple[str, ...]:
    """The source's own modules, which are found by name when a step runs."""
    return f"humanllm_assets.sources.{source}", f"humanllm_assets.filtering.rules.{source}"


def _declare_core(profile: Profile) -> Node:
    thresholds, amazon = profile.thresholds.rules_of("amazon"), profile.sources["amazon"]
    return Node(
        name="amazon_core",
        group="filtering",
        description="Reviews that survive the k-core over the whole Amazon data: items bought at least three times, users with "
        "at least eight purchases, to the fixpoint (F4). One job over all categories, because users buy across them.",
        kinds=frozenset({"duckdb"}),
        tables={"core": CORE},
        deps=(Partitions(profile).all_slices("raw_amazon", "amazon"),),
        identity=lambda partition: {"rules": thresholds} | _selected({s: amazon.selection(s) for s in amazon.slices}),
        compute=_amazon_core,
        code=_code_of("amazon"),
    )


def _selected(selection: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an identity that says which rows of the files are meant; nothing where all are."""
    chosen = {key: value for key, value in selection.items() if value}
    return {"selection": chosen} if chosen else {}


def _amazon_core(step: Step) -> None:
    thresholds = AmazonRules.model_validate(step.profile.thresholds.rules_of("amazon"))
    report = ReadReport()
    expected = sum(raw.manifest.counts.entered for raw in step.inputs["raw_amazon"].values())
    for slice_name in step.inputs["raw_amazon"]:
        files = check_slice(step, "amazon", slice_name)
        selection = selection_rules(step.profile.sources["amazon"], slice_name)
        parts = read_parts(step.con, "amazon", slice_name, files.records, step.workdir, report)
        for _ in show_progress(parts, report, expected, step.log):
            amazon_candidates(step.con, thresholds, "raw_part", selection)
        step.log(f"amazon_core: read {slice_name}, {report.rows_read:,} reviews so far")
    candidates = step.con.execute("select count(*) from candidates").fetchall()[0][0]
    step.measures["rounds"] = amazon_core(step.con, thresholds)
    step.copy("core", "select * from core_verdicts")
    found = dict(step.con.execute("select coalesce(reason, 'kept'), count(*) from core_verdicts group by 1").fetchall())
    kept = found.pop("kept", 0)
    found["outside_core"] = candidates - kept - sum(found.values())
    step.count(entered=report.rows_read, kept=kept, dropped={**found, "row_rules_or_unreadable": report.rows_read - candidates})


def _declare_eligible(profile: Profile, home: Home, source: str) -> Node:
    slices, thresholds, rules = Partitions(profile).slices(source), profile.thresholds.rules_of(source), load_rules(source)
    core = (Dep(f"{source}_core", {s: (NO_PARTITION,) for s in slices}),) if rules.has_core else ()
    return Node(
        name=f"eligible_{source}",
        group="filtering",
        description=f"Records of {source} that pass the rule filters ({rules.title}), in one schema for all sources. Every dropped "
        "row is counted by its first failing rule; unreadable rows are quarantined with file, line and reason.",
        kinds=frozenset({"duckdb", "parquet"}),
        tables={"records": RECORDS, "dropped": DROPPED, "quarantine": QUARANTINE},
        partitions=slices,
        deps=(Dep(f"raw_{source}", same(slices)), *core),
        identity=lambda partition: {"rules": thresholds} | _selected(profile.sources[source].selection(partition)),
        external=lambda partition: forgotten_identity(home, source),
        compute=partial(_eligible, source),
        code=_code_of(source),
        contract=Contract.load("eligible", profile.thresholds, source=source),
    )


def _eligible(source: str, step: Step) -> None:
    files, report = check_slice(step, source, step.partition), ReadReport()
    if f"{source}_core" in step.inputs:
        step.view("core_of_all", f"{source}_core", "core")
        step.con.execute(
            f"create temp table core as select row_no, reason from core_of_all where slice = {literal(step.partition)}"
        )
    forgotten = forgotten_users(step.runtime.home, source)
    selection = selection_rules(step.profile.sources[source], step.partition)
    thresholds = step.profile.thresholds.rules_of(source)
    rules = SliceFilter(step.con, source, thresholds, step.workdir, forgotten=forgotten, selection=selection)
    expected = step.inputs[f"raw_{source}"][step.partition].manifest.counts.entered
    for _ in show_progress(
        read_parts(step.con, source, step.partition, files.records, step.workdir, report), report, expected, step.log
    ):
        rules.take("raw_part")
    rules.gather()
    if files.context:
        read_context(step.con, source, files.context, "passed", step.workdir, report)
    dropped = rules.finish("context" if files.context else None)
    kept = step.con.execute("select count(*) from kept_rows").fetchall()[0][0]
    step.copy("records", "select * from kept_rows")
    step.copy("dropped", "select * from dropped_rows")
    step.copy("quarantine", "select * from quarantine")
    step.count(entered=report.rows_read, kept=kept, dropped={**dropped, "unreadable": report.unreadable})
    step.measures |= {
        "rows_in": report.rows_read,
        "rows_differing_from_raw": count_differing_rows(step, source, report.rows_by_file),
        "quarantine_rate": report.unreadable / report.rows_read if report.rows_read else 0.0,
        "context_rows": report.context_rows,
        "context_unreadable": report.context_unreadable,
    }


def _declare_filtered(profile: Profile, home: Home, source: str) -> Node:
    slices, thresholds, posts = Partitions(profile).slices(source), profile.thresholds, SOURCES[source].answers
    answered = (Dep(f"filtered_{posts}", same(slices)),) if posts else ()
    return Node(
        name=f"filtered_{source}",
        group="filtering",
        description=f"Records of {source} after LLM rewriting (F5: no markup, links, foreign text or private data) and LLM labels (F6); "
        "only wanted quality and harmless ones stay."
        + (f" What answers a record that is not in filtered_{posts} is dropped." if posts else ""),
        kinds=frozenset({"vllm", "parquet"}),
        tables={"records": FILTERED, "dropped": DROPPED, "failures": FAILURES},
        partitions=slices,
        deps=(Dep(f"eligible_{source}", same(slices)), *answered),
        identity=lambda partition: {
            "rewriter": llm_identity(profile, "rewriter", ["rewrite_record"]),
            "labeller": llm_identity(profile, "labeller", ["label_record"]),
            "labels": thresholds.labels,
            "gates": thresholds.gates.only(RECORD_GATES),
            "privacy": detector_identity(),
            "caps": thresholds.caps_of(source),
        },
        external=lambda partition: slots_identity(home, source, partition),
        compute=partial(_filtered, source),
        contract=Contract.load("filtered", thresholds, lists=thresholds.gates.lists(RECORD_GATES)),
        uses_llm=True,
    )


def _filtered(source: str, step: Step) -> None:
    step.view("records", f"eligible_{source}", "records")
    posts, home = SOURCES[source].answers, step.runtime.home
    if posts:
        step.view("posts", f"filtered_{posts}", "records")
    select_for_llm(
        step.con,
        step.profile.thresholds.caps_of(source),
        empty_slots(home, source, step.partition),
        "posts" if posts else None,
        gone_posts(home, source, step.partition),
    )
    capped = dict(step.con.execute("select reason, count(*) from capped group by 1").fetchall())
    step.append("dropped", "select record_id, user_id, reason from capped")
    counts = rewrite_and_label(
        step.con,
        step.engine,
        (step.profile.roles["rewriter"], Prompt.load("rewrite_record")),
        (step.profile.roles["labeller"], Prompt.load("label_record")),
        Rules(step.profile.thresholds.labels, step.profile.thresholds.gates),
        source,
        step.write,
        step.log,
    )
    step.count(entered=counts.rows_in + sum(capped.values()), kept=counts.kept, dropped={**capped, **counts.dropped})
    step.measures |= {f"cleaned_{kind}": n for kind, n in sorted(counts.cleaned.items())}
    llm_measures(step, counts)


def nodes(profile: Profile, home: Home) -> list[Node]:
    """eligible_<source> and filtered_<source> of every source of the profile, and amazon_core."""
    found = []
    for source in Partitions(profile).sources:
        if source == "amazon":
            found.append(_declare_core(profile))
        found += [_declare_eligible(profile, home, source), _declare_filtered(profile, home, source)]
    return found
