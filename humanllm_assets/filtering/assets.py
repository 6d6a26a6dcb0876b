"""eligible_*: rules F1-F4 in SQL; amazon_core: the k-core over all categories; filtered_*: rewriting and labels (F5, F6)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.filtering.privacy import detector_identity
from humanllm_assets.filtering.rewriting import rewrite_and_label
from humanllm_assets.filtering.rule import is_one_of, load_rules
from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets.filtering.verdicts import FORGOTTEN, apply_rules
from humanllm_assets.lineage.nodes import NO_PARTITION, Dep, Node, same
from humanllm_assets.lineage.tombstones import (
    empty_slots,
    forgotten_identity,
    forgotten_users,
    gone_posts,
    slots_identity,
)
from humanllm_assets.partitions import Partitions
from humanllm_assets.sources.assets import read_slice
from humanllm_assets.tables import CORE, DROPPED, FAILURES, FILTERED, QUARANTINE, RECORDS
from resources.prompting.prompts import Prompt
from resources.sources import SOURCES, AmazonRules

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def _code_of(source: str) -> tuple[str, ...]:
    """The source's own modules, which are found by name when a step runs."""
    return f"humanllm_assets.sources.{source}", f"humanllm_assets.filtering.rules.{source}"


def _declare_core(profile: Profile, home: Home) -> Node:
    thresholds = profile.thresholds.rules_of("amazon")
    return Node(
        name="amazon_core",
        group="filtering",
        description="Reviews that survive the k-core over the whole Amazon data: items bought at least three times, users with "
        "at least eight purchases, to the fixpoint (F4). One job over all categories, because users buy across them.",
        kinds=frozenset({"duckdb"}),
        tables={"core": CORE},
        deps=(Partitions(profile).all_slices("raw_amazon", "amazon"),),
        identity=lambda partition: {"rules": thresholds},
        external=lambda partition: forgotten_identity(home, "amazon"),
        compute=_amazon_core,
        code=_code_of("amazon"),
    )


def _amazon_core(step: Step) -> None:
    thresholds = AmazonRules.model_validate(step.profile.thresholds.rules_of("amazon"))
    read = 0
    for slice_name in step.inputs["raw_amazon"]:
        read += read_slice(step, "amazon", slice_name).rows_read
        amazon_candidates(step.con, thresholds)
        step.log(f"amazon_core: read {slice_name}")
    step.measures["rounds"] = amazon_core(step.con, thresholds)
    forgotten = is_one_of("user_id", forgotten_users(step.runtime.home, "amazon"))
    step.copy("core", f"select * from core_verdicts where not {forgotten}")
    reason = f"case when {forgotten} then '{FORGOTTEN}' else coalesce(reason, 'kept') end"
    found = dict(step.con.execute(f"select {reason}, count(*) from core_verdicts group by 1").fetchall())
    kept = found.pop("kept", 0)
    step.count(entered=read, kept=kept, dropped={**found, "row_rules_or_unreadable": read - kept - sum(found.values())})


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
        identity=lambda partition: {"rules": thresholds},
        external=lambda partition: forgotten_identity(home, source),
        compute=partial(_eligible, source),
        code=_code_of(source),
        contract=Contract.load("eligible", profile.thresholds, source=source),
    )


def _eligible(source: str, step: Step) -> None:
    report = read_slice(step, source, step.partition)
    if f"{source}_core" in step.inputs:
        step.view("core", f"{source}_core", "core")
    forgotten = forgotten_users(step.runtime.home, source)
    dropped = apply_rules(step.con, source, step.profile.thresholds.rules_of(source), forgotten=forgotten)
    kept = step.con.execute("select count(*) from kept").fetchall()[0][0]
    step.copy("records", "select * from kept")
    step.copy("dropped", "select * from dropped")
    step.copy("quarantine", "select * from quarantine")
    step.count(entered=report.rows_read, kept=kept, dropped={**dropped, "unreadable": report.unreadable})
    step.measures |= {
        "rows_in": report.rows_read,
        "rows_differing_from_raw": report.rows_read - step.inputs[f"raw_{source}"][step.partition].manifest.counts.entered,
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
            "privacy": detector_identity(),
            "caps": thresholds.caps_of(source),
        },
        external=lambda partition: slots_identity(home, source, partition),
        compute=partial(_filtered, source),
        contract=Contract.load("filtered", thresholds),
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
        step.profile.thresholds.labels,
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
            found.append(_declare_core(profile, home))
        found += [_declare_eligible(profile, home, source), _declare_filtered(profile, home, source)]
    return found
