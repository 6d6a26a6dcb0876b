"""Dagster definitions built from the nodes of a profile.

What belongs here: turning nodes into assets, checks, mappings and events. What an asset computes lives in its stage folder; which
partitions exist, in `partitions.py`. `build_definitions(profile, ...)` takes everything as arguments, so that tests swap the
profile and the engine without patching. (No `from __future__ import annotations` here: Dagster reads the annotation of `context`.)
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource

from humanllm_assets.graph import OWNERS, build_graph
from humanllm_assets.lineage.items import NO_PARTITION, Item
from humanllm_assets.lineage.manifests import Manifest
from humanllm_assets.lineage.nodes import Dep, Graph, Node, Runtime
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import ContractFailed, run_step
from humanllm_assets.lineage.warehouse import refresh_warehouse
from humanllm_assets.orchestration.checks import check_results, check_specs
from humanllm_assets.orchestration.instance import FORCE_TAG, step_logger
from humanllm_assets.orchestration.jobs import refresh_job, source_sensor
from humanllm_assets.orchestration.lineage_check import lineage_check
from humanllm_assets.orchestration.metadata import describe_snapshot
from humanllm_assets.orchestration.reach import launch_deps
from resources.engine_resource import duckdb_resource, engine_resource
from resources.errors import Explained
from resources.home import Home, home_of, machine_problem
from resources.locks import hold_lock
from resources.profile import Profile

# Partitioned checks and multi-partition mappings are marked preview and beta at the pinned version; the graph's tests cover them.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

LLM_POOL = "llm"
GATE_CONFIG = {
    "allow_stale": dg.Field(
        bool, default_value=False, description="compute although something upstream is stale; the manifest records what that was"
    )
}


def partitions_definition(node: Node) -> dg.PartitionsDefinition | None:
    """Dagster's partitions of a node; None for an asset without partitions."""
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
        read = dep.parents[NO_PARTITION]
        return (
            dg.AllPartitionMapping() if {*read} == {*upstream.partitions} else dg.SpecificPartitionsPartitionMapping(list(read))
        )
    if node.dimensions:
        return dg.MultiToSingleDimensionPartitionMapping(dep.dimension)
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

    def _run(context: dg.AssetExecutionContext, locks: ExitStack) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        partition = str(context.partition_key) if context.has_partition_key else NO_PARTITION
        name = str(Item(node.name, partition))

        def say(line: str) -> None:
            context.log.info(f"{name}: {line}")

        runtime = Runtime(
            profile=profile,
            graph=graph,
            home=home,
            store=SnapshotStore(home.root),
            connect=context.resources.duckdb.get_connection,
            engine=context.resources.engine,
        )
        try:
            locks.enter_context(hold_lock(home.steps_lock, name, shared=True, on_wait=say))
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
            raise dg.Failure(str(e), metadata=describe_snapshot(e.snapshot, None, runtime.store), allow_retries=False) from e
        except Explained as e:  # retrying does not help
            raise dg.Failure(str(e), allow_retries=False) from e
        except Exception as e:
            if problem := machine_problem(e, home.root):
                raise dg.Failure(f"{name}: {problem}", allow_retries=False) from e
            raise
        yield from _checks(node, outcome.snapshot.manifest)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(outcome.snapshot.data_version),
            metadata=describe_snapshot(outcome.snapshot, outcome, runtime.store),
            tags={
                "humanllm/identity": outcome.snapshot.manifest.identity_hash[:16],
                "humanllm/reused": str(outcome.reused).lower(),
            },
        )

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
        with ExitStack() as locks:  # held until Dagster has written what is reported: failed checks name records
            yield from _run(context, locks)

    return _asset


def _checks(node: Node, manifest: Manifest) -> list[dg.AssetCheckResult]:
    if node.contract is None or not manifest.verdict:
        return []
    return check_results(manifest.verdict, dg.AssetKey(node.name))


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
        asset_checks=[
            lineage_check(node.name, partitions_definition(node), profile, home, frozenset(graph.all_partitions()))
            for node in graph.nodes.values()
            if node.keeps_forever
        ],
        jobs=[refresh],
        sensors=[source_sensor(graph, refresh)],
        resources={"duckdb": duckdb, "engine": engine or engine_resource(profile, home)},
        executor=executor,
        loggers={"console": step_logger},
    )
