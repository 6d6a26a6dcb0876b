"""Dagster definitions built from the nodes of a profile.

What belongs here: turning nodes into assets, checks, mappings and events. What an asset computes lives in its stage folder; which
partitions exist, in `partitions.py`. `build_definitions(profile, ...)` takes everything as arguments, so that tests swap the
profile and the engine without patching. (No `from __future__ import annotations` here: Dagster reads the annotation of `context`.)
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from humanllm_assets import assets_of_profile
from humanllm_assets.lineage.nodes import NO_PARTITION, Dep, Graph, Node, display
from humanllm_assets.lineage.reach import launch_deps
from humanllm_assets.lineage.snapshots import Manifest, Snapshot, SnapshotError, SnapshotStore
from humanllm_assets.lineage.step import ContractFailed, Outcome, Runtime, StepError, run_step
from humanllm_assets.lineage.ui import CHECKED, lineage_check, lineage_summary
from humanllm_assets.lineage.warehouse import refresh_warehouse
from humanllm_assets.quality.checks import check_results, check_specs
from humanllm_assets.refreshing import refresh_job, source_sensor
from humanllm_assets.runs import FORCE_TAG, step_logger
from humanllm_assets.training.launch import TrainingError
from humanllm_assets.training.merge import MergeError
from resources.engine_resource import duckdb_resource, engine_resource
from resources.errors import EngineError
from resources.home import Home, home_of, storage_problem
from resources.models import ModelError
from resources.profile import Profile
from resources.vllm_server import ServerError

# Partitioned checks and multi-partition mappings are marked preview and beta at the pinned version; the graph's tests cover them.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

GROUPS = {
    "sources": "1. Sources: files as they came, fingerprinted",
    "filtering": "2. Filtering: rules F1-F4, then rewriting and labels by an LLM (F5, F6)",
    "synthesis": "3. Synthesis: users (P), scenarios (E), social QA (B)",
    "quality": "4. Quality: a judge scores every synthesized item (Q1-Q4)",
    "tasks": "5. Tasks: six tasks, split by user, in ShareGPT form (T1-T7)",
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
LLM_POOL = "llm"
# What a user can mend (profile, input files, models, servers, a budget): the message is a sentence, and retrying does not help.
EXPLAINED = (StepError, SnapshotError, ModelError, ServerError, EngineError, TrainingError, MergeError, ValueError)
GATE_CONFIG = {
    "allow_stale": dg.Field(
        bool, default_value=False, description="compute although something above is stale; the manifest records what that was"
    )
}


def partitions_definition(node: Node) -> dg.PartitionsDefinition | None:
    if not node.partitioned:
        return None
    if node.dimensions:
        return dg.MultiPartitionsDefinition({d: dg.StaticPartitionsDefinition(list(k)) for d, k in node.dimensions.items()})
    return dg.StaticPartitionsDefinition(list(node.partitions))


def partition_mapping(node: Node, dep: Dep, upstream: Node) -> dg.PartitionMapping | None:
    """Dagster's built-in mapping for a dependency's dict."""
    if not upstream.partitioned:
        return None
    if not node.partitioned:
        return dg.AllPartitionMapping()
    if node.dimensions:
        dimension = next(d for i, d in enumerate(node.dimensions) if all(p == (k.split("|")[i],) for k, p in dep.parents.items()))
        return dg.MultiToSingleDimensionPartitionMapping(dimension)
    downstream: dict[str, list[str]] = {}
    for partition, parents in dep.parents.items():
        for parent in parents:
            downstream.setdefault(parent, []).append(partition)
    return dg.StaticPartitionMapping({k: sorted(v) for k, v in downstream.items()})


def _schema(node: Node) -> dict[str, Any]:
    schemas = {
        t: dg.TableSchema([dg.TableColumn(c.name, c.type, description=c.description) for c in columns])
        for t, columns in node.tables.items()
    }
    if not schemas:
        return {}
    main, *others = schemas
    return {"dagster/column_schema": schemas[main], **{f"columns_of_{t}": schemas[t] for t in others}}


def to_asset(node: Node, deps: Sequence[Dep], graph: Graph, profile: Profile, home: Home) -> dg.AssetsDefinition:
    """The Dagster asset of a node: one op that runs the memoizing step and reports what it did. `deps`: from `launch_deps`."""
    partitions_def = partitions_definition(node)

    @dg.asset(
        name=node.name,
        group_name=node.group,
        description=node.description,
        kinds=set(node.kinds),
        owners=[OWNERS[node.group]],
        partitions_def=partitions_def,
        deps=[dg.AssetDep(d.asset, partition_mapping=partition_mapping(node, d, graph[d.asset])) for d in deps],
        code_version=node.load_time_version,
        check_specs=check_specs(node.contract, dg.AssetKey(node.name), partitions_def) if node.contract else None,
        metadata=_schema(node),
        required_resource_keys={"duckdb", "engine"},
        pool=LLM_POOL if node.uses_llm else None,
        output_required=True,
        config_schema=GATE_CONFIG if node.gated else None,
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        partition = str(context.partition_key) if context.has_partition_key else NO_PARTITION
        runtime = Runtime(
            profile=profile,
            graph=graph,
            home=home,
            store=SnapshotStore(home.root),
            connect=context.resources.duckdb.get_connection,
            engine=context.resources.engine,
        )
        try:
            outcome = run_step(
                node,
                partition,
                runtime,
                log=context.log.info,
                run_id=context.run.run_id,
                force=FORCE_TAG in context.run.tags,
                allow_stale=node.gated and context.op_execution_context.op_config["allow_stale"],
                pipes=context,
            )
            if not outcome.reused:
                refresh_warehouse(graph, runtime.store, home.warehouse)
        except ContractFailed as e:
            yield from _checks(node, e.snapshot.manifest)
            raise dg.Failure(str(e), metadata=_metadata(e.snapshot, None, runtime.store), allow_retries=False) from e
        except EXPLAINED as e:
            raise dg.Failure(str(e), allow_retries=False) from e
        except Exception as e:
            if problem := storage_problem(e, home.root):
                raise dg.Failure(f"{display(node.name, partition)}: {problem}", allow_retries=False) from e
            raise
        yield from _checks(node, outcome.snapshot.manifest)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(outcome.snapshot.data_version),
            metadata=_metadata(outcome.snapshot, outcome, runtime.store),
            tags={
                "humanllm/identity": outcome.snapshot.manifest.identity_hash[:16],
                "humanllm/reused": str(outcome.reused).lower(),
            },
        )

    return _asset


def _checks(node: Node, manifest: Manifest) -> list[dg.AssetCheckResult]:
    if node.contract is None or not manifest.verdict:
        return []
    return check_results(manifest.verdict, dg.AssetKey(node.name))


def _metadata(snapshot: Snapshot, outcome: Outcome | None, store: SnapshotStore) -> dict[str, Any]:
    """What a materialization shows in the UI."""
    m = snapshot.manifest
    counts = m.counts
    metadata: dict[str, Any] = {
        "dagster/row_count": next(iter(m.tables.values())).rows if m.tables else 0,
        "built": "reused" if outcome and outcome.reused else "computed",
        "why": outcome.reason if outcome else "rejected by its contract",
        "snapshot": dg.MetadataValue.path(str(snapshot.folder)),
        "identity": dg.MetadataValue.json(m.identity),
        "entered": counts.entered,
        "kept": counts.kept,
        "seconds": m.seconds,
    }
    if outcome and outcome.reused and m.run_id:
        metadata["built_by"] = dg.MetadataValue.dagster_run(m.run_id)
    if counts.dropped:
        metadata["dropped"] = _two_columns("reason", "rows", counts.dropped)
    if m.allow_stale:
        metadata["allow_stale"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in m.allow_stale))
    if m.stages:
        metadata["stages"] = dg.MetadataValue.json({k: v.model_dump() for k, v in m.stages.items()})
    if m.usage:
        metadata["llm"] = dg.MetadataValue.json(m.usage)
    if m.measures:
        metadata["measures"] = _two_columns(
            "measure", "value", {k: v for k, v in m.measures.items() if v is not None}, as_text=True
        )
    if m.upstream:
        metadata["upstream"] = _upstream(m, store)
    if "consumed" in m.tables:
        metadata["lineage"] = dg.MetadataValue.md(lineage_summary(store, snapshot))
    if page := m.measures.get("report"):
        metadata["report"] = dg.MetadataValue.path(str(snapshot.folder / str(page)))
    return metadata


def _upstream(m: Manifest, store: SnapshotStore) -> dg.MetadataValue:
    """What was read. A table has no links, so each row names the run that made it: /runs/<run> in the UI."""
    rows = []
    for u in m.upstream:
        try:
            parent = store.by_ref(u).manifest
        except SnapshotError:
            parent = None  # the check `lineage_complete` names it
        rows.append(
            {
                "asset": u.asset,
                "partition": u.partition,
                "data_version": u.data_version,
                "rows": next(iter(parent.tables.values())).rows if parent and parent.tables else None,
                "run": parent.run_id if parent else "gone",
            }
        )
    kinds = {"rows": "int"}
    return dg.MetadataValue.table(
        [dg.TableRecord(r) for r in rows],
        schema=dg.TableSchema(
            [dg.TableColumn(c, kinds.get(c, "string")) for c in ("asset", "partition", "data_version", "rows", "run")]
        ),
    )


def _two_columns(first: str, second: str, values: Any, as_text: bool = False) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({first: k, second: str(v) if as_text else v}) for k, v in values.items()],
        schema=dg.TableSchema([dg.TableColumn(first), dg.TableColumn(second, "string" if as_text else "int")]),
    )


def build_definitions(profile: Profile, home: Home | None = None, engine: dg.ResourceDefinition | None = None) -> dg.Definitions:
    """Definitions of one profile; `home` and `engine` replace the defaults in tests."""
    home = (home or home_of(profile)).prepare(profile)
    graph = build_graph(profile, home)
    deps = launch_deps(graph)
    executor = dg.in_process_executor if profile.execution.executor == "in_process" else dg.multiprocess_executor
    duckdb: DuckDBResource = duckdb_resource(profile, home)
    refresh = refresh_job(profile, graph, home)
    return dg.Definitions(
        assets=[to_asset(node, deps[node.name], graph, profile, home) for node in graph.nodes.values()],
        asset_checks=[lineage_check(n, partitions_definition(graph[n]), profile, home) for n in CHECKED if n in graph.nodes],
        jobs=[refresh],
        sensors=[source_sensor(graph, refresh)],
        resources={"duckdb": duckdb, "engine": engine or engine_resource(profile, home)},
        executor=executor,
        loggers={"console": step_logger},
    )


def build_graph(profile: Profile, home: Home | None = None) -> Graph:
    """The nodes of one profile; everything that loads, plans or runs starts here."""
    return Graph(assets_of_profile(profile, home or home_of(profile)))
