"""One step: reuse, or write, audit and publish one partition of one asset.

The step pins the published snapshots of its parents, computes its identity, and when a retained snapshot has that identity it
publishes that one again without computing. Otherwise it computes into a temporary folder, lets Great Expectations check what was
written, seals the snapshot, and moves the pointer only when no critical expectation failed. Whatever goes wrong, what was
published before stays as it was.

Dagster is not imported here: `humanllm_assets/definitions.py` turns the outcome into events, and tests run steps without it.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from humanllm_assets.lineage.git import code_state
from humanllm_assets.lineage.nodes import Node, Runtime, Step, StepError, display
from humanllm_assets.lineage.snapshots import Manifest, Snapshot, SnapshotError, SnapshotStore
from resources.canonical import digest
from resources.files import write_atomically
from resources.home import storage_problem
from resources.prompting.prompts import Prompt


class ContractFailed(StepError):
    """The written snapshot broke a critical expectation and was not published."""

    def __init__(self, message: str, snapshot: Snapshot) -> None:
        super().__init__(message)
        self.snapshot = snapshot


@dataclass(frozen=True)
class Outcome:
    """What a step did: the snapshot that is published now, whether it was reused, and why it was computed."""

    snapshot: Snapshot
    reused: bool
    reason: str


def pin_inputs(node: Node, partition: str, store: SnapshotStore) -> dict[str, dict[str, Snapshot]]:
    """The published snapshot of every parent partition.

    Raises:
        StepError: parents that are not published, all in one message with the command that makes them.
    """
    inputs: dict[str, dict[str, Snapshot]] = {}
    missing = []
    for asset, parent in node.parents(partition):
        snapshot = store.published(asset, parent)
        if snapshot is None:
            missing.append(display(asset, parent))
        else:
            inputs.setdefault(asset, {})[parent] = snapshot
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise StepError(
            f"{display(node.name, partition)} needs {shown}, not published yet; materialize with everything upstream: "
            f"humanllm materialize '{display(node.name, partition)}'"
        )
    return inputs


def upstream_versions(inputs: Mapping[str, Mapping[str, Snapshot]]) -> dict[tuple[str, str], str]:
    return {(a, p): s.data_version for a, ps in inputs.items() for p, s in ps.items()}


def run_step(
    node: Node,
    partition: str,
    runtime: Runtime,
    *,
    log: Callable[[str], None],
    run_id: str = "",
    force: bool = False,
    allow_stale: bool = False,
    pipes: Any = None,
    audit: Callable[[Node, Step], dict[str, Any]] | None = None,
) -> Outcome:
    """Bring one partition up to date.

    Args:
        log: receives progress lines.
        force: compute even when the identity is unchanged.
        allow_stale: open the gate of a gated node for what is stale above it; the manifest records what that was.
        audit: replaces the Great Expectations audit (tests of the core only).

    Raises:
        StepError: parents missing, a gated node's gate closed, input unusable or changed while it was read, disk full.
        ContractFailed: a critical expectation failed; the old snapshot stays published.
    """
    store = runtime.store
    name = display(node.name, partition)

    def say(line: str) -> None:  # several partitions may report at once
        log(line if line.startswith(name) else f"{name}: {line}")

    allowed = _pass_gate(node, partition, runtime, allow_stale) if node.gated else []
    inputs = pin_inputs(node, partition, store)
    payload = node.full_identity(partition, upstream_versions(inputs))
    identity_hash = digest(payload)
    current, damage = _current(store, node.name, partition)
    if not force and (known := store.with_identity(node.name, partition, identity_hash)):
        if current is None or known.folder != current.folder or known.manifest_file != current.manifest_file:
            store.publish(known)
        say(f"{name} is up to date: reused the snapshot that run {known.manifest.run_id[:8] or '-'} built")
        return Outcome(known, reused=True, reason="identity unchanged")

    reason = damage or ("forced" if force else _why(current, payload))
    say(f"{name}: computing ({reason})")
    started = time.time()
    try:
        writer = store.begin(node.name, partition, node.tables)
    except OSError as e:
        raise _storage_error(name, store, e) or e from e
    work = writer.folder.with_name(writer.folder.name + "-work")
    try:
        _keep_prompts(payload, runtime.home.prompts)
        with runtime.connect() as con:
            step = Step(node, partition, runtime, inputs, identity_hash, writer, con, say, pipes)
            node.compute(step)
            version, tables, files = writer.seal(con)
        step.measures.setdefault("unaccounted_rows", step.counts.unaccounted)
        _refuse_if_changed(node, partition, inputs, payload)
        verdict = (audit or _audit)(node, step)
        manifest = Manifest(
            asset=node.name,
            partition=partition,
            data_version=version,
            identity_hash=identity_hash,
            identity=payload,
            upstream=[s.ref() for _, ps in sorted(inputs.items()) for _, s in sorted(ps.items())],
            tables=tables,
            files=files,
            counts=step.counts,
            stages=step.stages,
            measures=step.measures,
            verdict=verdict,
            passed=bool(verdict.get("passed", True)),
            usage=step.usage,
            answers_sha256=step.keep_answers(),
            code=code_state(),
            why=reason,
            allow_stale=allowed,
            run_id=run_id,
            started_at=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.time() - started, 1),
        )
        snapshot = store.add(writer, manifest)
    except BaseException as e:
        store.abandon(writer)
        if found := _storage_error(name, store, e):
            raise found from e
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not snapshot.manifest.passed:
        failed = "; ".join(verdict["failed"])
        kept = f"; {current.data_version} stays published" if current else ""
        raise ContractFailed(
            f"{name} was not published: {failed}{kept}. The rejected snapshot is {snapshot.folder.relative_to(store.root)}; "
            f"see the asset's checks, then fix the input or the threshold and run: humanllm materialize '{name}'",
            snapshot,
        )
    store.publish(snapshot)
    same_content = current is not None and current.data_version == version
    say(f"{name}: published {version} ({snapshot.manifest.counts.kept:,} kept of {snapshot.manifest.counts.entered:,}"
        f"{', equal to the version before' if same_content else ''})")  # fmt: skip
    return Outcome(snapshot, reused=False, reason=reason)


def _current(store: SnapshotStore, asset: str, partition: str) -> tuple[Snapshot | None, str]:
    """The published snapshot; when it is gone or altered, None and the reason: the step then makes it again."""
    try:
        return store.published(asset, partition), ""
    except SnapshotError as e:
        return None, str(e)


def _pass_gate(node: Node, partition: str, runtime: Runtime, allow_stale: bool) -> list[str]:
    """Look at everything above a gated node; returns the stale partitions that were allowed. Raises StepError when it is closed."""
    from humanllm_assets.lineage.staleness.gate import refusal, stale_above, unclean_above

    stale = stale_above(runtime.graph, runtime.store, node, partition)
    clean = runtime.profile.execution.require_clean_code
    unclean = unclean_above(runtime.graph, runtime.store, node, partition) if clean else []
    if unclean or (stale and not allow_stale):
        raise StepError(refusal(node, partition, [] if allow_stale else stale, unclean))
    return [str(finding) for finding in stale]


def _refuse_if_changed(
    node: Node, partition: str, inputs: Mapping[str, Mapping[str, Snapshot]], payload: Mapping[str, Any]
) -> None:
    """A source file or prompt that was edited while the step ran may have been read before or after: nothing is published."""
    now = node.full_identity(partition, upstream_versions(inputs))
    if digest(now) != digest(payload):
        from humanllm_assets.lineage.staleness.plan import explain

        name = display(node.name, partition)
        raise StepError(
            f"{name} was not published, because this changed while it ran: {'; '.join(explain(payload, now)[:3])}; "
            f"run it again: humanllm materialize '{name}'"
        )


def _keep_prompts(payload: Any, folder: Path) -> None:
    """Keep the text of every prompt that an identity names, by its hash, so that a later difference can be read line by line."""
    if isinstance(payload, list):
        for item in payload:
            _keep_prompts(item, folder)
    elif isinstance(payload, dict):
        sha256 = payload.get("text_sha256")
        if isinstance(sha256, str) and not (path := folder / f"{sha256}.md").exists():
            text = Prompt.load(payload["name"]).text
            if hashlib.sha256(text.encode()).hexdigest() == sha256:  # else it was edited just now, and the step will notice
                write_atomically(path, text.encode())
        for item in payload.values():
            _keep_prompts(item, folder)


def _why(current: Snapshot | None, payload: Mapping[str, Any]) -> str:
    from humanllm_assets.lineage.staleness.plan import explain

    return "never materialized" if current is None else "; ".join(explain(current.manifest.identity, payload)[:3])


def _audit(node: Node, step: Step) -> dict[str, Any]:
    """Check the written tables and the step's measures by the node's contract, with Great Expectations."""
    if node.contract is None:
        return {}
    from humanllm_assets.contracts.gx_runner import run_contract

    paths = {t: step.writer.folder / f"{t}.parquet" for t in node.tables}
    numbers = {k: float(v) for k, v in step.measures.items() if isinstance(v, int | float | bool)}
    name = f"{node.name}/{step.partition or 'all'}/{step.identity_hash[:12]}"
    return run_contract(node.contract, paths, numbers, step.runtime.home.data_docs, name).verdict()


def _storage_error(name: str, store: SnapshotStore, error: BaseException) -> StepError | None:
    """A sentence for a full or read-only disk; None when the error is something else."""
    problem = None if isinstance(error, StepError) else storage_problem(error, store.root)
    return StepError(f"{name}: {problem}") if problem else None
