"""One step: reuse, or write, audit and publish one partition of one asset.

The step pins the published snapshots of its parents, computes its identity, and when a retained snapshot has that identity it
publishes that one again without computing. Otherwise it computes into a temporary folder, lets Great Expectations check what was
written, seals the snapshot, and moves the pointer only when no critical expectation failed. Whatever goes wrong, what was
published before stays as it was.

Dagster is not imported here: `orchestration/build.py` turns the outcome into events, and tests run steps without it.
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

from humanllm_assets.contracts.gx_runner import run_contract
from humanllm_assets.lineage.git import code_state
from humanllm_assets.lineage.identity import find_models, find_prompts
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.manifests import Manifest, Snapshot
from humanllm_assets.lineage.nodes import Node, Runtime, Step, StepError
from humanllm_assets.lineage.snapshots import Sealed, SnapshotError, SnapshotStore
from humanllm_assets.lineage.staleness.explain import explain
from humanllm_assets.lineage.staleness.gate import describe_refusal, find_stale_upstream, find_unclean_upstream
from resources.canonical import digest
from resources.files import write_atomically
from resources.home import machine_problem
from resources.models import prepared_folder, weights_digest
from resources.prompting.prompts import Prompt

Inputs = Mapping[str, Mapping[str, Snapshot]]  # by asset and partition: the pinned parents
Log = Callable[[str], None]
Audit = Callable[[Node, Step], dict[str, Any]]


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
    """The published snapshot of every parent partition that is read.

    Raises:
        StepError: parents that are not published, all in one message with the command that makes them.
    """
    inputs: dict[str, dict[str, Snapshot]] = {}
    missing = []
    for asset, parent in node.parents(partition):
        snapshot = store.published(asset, parent)
        if snapshot is None:
            missing.append(str(Item(asset, parent)))
        elif asset not in node.guards:
            inputs.setdefault(asset, {})[parent] = snapshot
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        item = Item(node.name, partition)
        raise StepError(
            f"{item} needs {shown}, not published yet; materialize with everything upstream: humanllm materialize '{item}'"
        )
    return inputs


def upstream_versions(inputs: Inputs) -> dict[Item, str]:
    """The data version of every pinned parent."""
    return {Item(a, p): s.data_version for a, ps in inputs.items() for p, s in ps.items()}


@dataclass(frozen=True)
class _Attempt:
    """One step after its inputs are pinned and its identity is known.

    `current`: what is published; None when nothing is, or when it is damaged (`damage` says how). `allowed`: what the gate would
    have refused.
    """

    node: Node
    partition: str
    runtime: Runtime
    inputs: Inputs
    payload: Mapping[str, Any]
    identity_hash: str
    current: Snapshot | None
    damage: str
    allowed: list[str]
    log: Log

    @property
    def item(self) -> Item:
        return Item(self.node.name, self.partition)

    @property
    def store(self) -> SnapshotStore:
        return self.runtime.store

    def explain_run(self, force: bool) -> str:
        """Why the step computes."""
        if self.damage or force:
            return self.damage or "forced"
        if self.current is None:
            return "never materialized"
        return "; ".join(explain(self.current.manifest.identity, self.payload)[:3])


def run_step(
    node: Node,
    partition: str,
    runtime: Runtime,
    *,
    log: Log,
    run_id: str = "",
    force: bool = False,
    allow_stale: bool = False,
    pipes: Any = None,
    audit: Audit | None = None,
) -> Outcome:
    """Bring one partition up to date.

    Args:
        log: receives progress lines.
        force: compute even when the identity is unchanged.
        allow_stale: open the gate of a gated node for what is stale upstream; the manifest records what that was.
        pipes: Dagster's execution context, for external processes that report through Pipes.
        audit: replaces the Great Expectations audit (tests of the core only).

    Raises:
        StepError: parents missing, a gated node's gate closed, input unusable or changed while it was read, disk full.
        ContractFailed: a critical expectation failed; the old snapshot stays published.
    """
    attempt = _prepare(node, partition, runtime, log, allow_stale)
    if not force and (known := _reusable(attempt)):
        return Outcome(known, reused=True, reason="identity unchanged")
    reason = attempt.explain_run(force)
    snapshot = _compute(attempt, reason, run_id, pipes, audit or _audit)
    _publish(attempt, snapshot)
    return Outcome(snapshot, reused=False, reason=reason)


def _prepare(node: Node, partition: str, runtime: Runtime, log: Log, allow_stale: bool) -> _Attempt:
    """Pass the gate, pin the inputs, and compute the identity."""
    name = str(Item(node.name, partition))

    def log_named(line: str) -> None:  # several partitions may report at once
        log(line if line.startswith(name) else f"{name}: {line}")

    allowed = _pass_gate(node, partition, runtime, allow_stale) if node.gated else []
    inputs = pin_inputs(node, partition, runtime.store)
    payload = node.full_identity(partition, upstream_versions(inputs))
    current, damage = _current(runtime.store, node.name, partition)
    return _Attempt(node, partition, runtime, inputs, payload, digest(payload), current, damage, allowed, log_named)


def _current(store: SnapshotStore, asset: str, partition: str) -> tuple[Snapshot | None, str]:
    """The published snapshot; when it is gone or altered, None and the reason: the step then makes it again."""
    try:
        return store.published(asset, partition), ""
    except SnapshotError as e:
        return None, str(e)


def _reusable(attempt: _Attempt) -> Snapshot | None:
    """A retained snapshot of the step's identity, published again here; None when there is none."""
    known = attempt.store.with_identity(*attempt.item, attempt.identity_hash)
    if known is None:
        return None
    if attempt.current is None or known.key != attempt.current.key:
        attempt.store.publish(known)
    run = known.manifest.run_id[:8] or "-"
    attempt.log(f"{attempt.item} is up to date: reused the snapshot that run {run} built")
    return known


def _compute(attempt: _Attempt, reason: str, run_id: str, pipes: Any, audit: Audit) -> Snapshot:
    """Write, check and seal a new snapshot; nothing is left of one that could not be finished."""
    node, partition, runtime, store = attempt.node, attempt.partition, attempt.runtime, attempt.store
    attempt.log(f"{attempt.item}: computing ({reason})")
    started = time.time()
    try:
        writer = store.begin(node.name, partition, node.tables)
    except OSError as e:
        raise _machine_error(attempt, e) or e from e
    work = writer.folder.with_name(writer.folder.name + "-work")
    try:
        _keep_prompts(attempt.payload, runtime.home.prompts)
        with runtime.connect() as con:
            con.execute("set enable_progress_bar = false")  # it would write into the log
            step = Step(node, partition, runtime, attempt.inputs, attempt.identity_hash, writer, con, attempt.log, pipes)
            node.compute(step)
            sealed = writer.seal(con)
        step.measures.setdefault("unaccounted_rows", step.counts.unaccounted)
        _refuse_if_changed(attempt)
        return store.add(writer, _sealed_manifest(attempt, step, sealed, audit(node, step), reason, run_id, started))
    except BaseException as e:
        store.abandon(writer)
        if found := _machine_error(attempt, e):
            raise found from e
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sealed_manifest(
    attempt: _Attempt, step: Step, sealed: Sealed, verdict: dict[str, Any], reason: str, run_id: str, started: float
) -> Manifest:
    """The manifest of what a step wrote. `started`: seconds since 1970."""
    return Manifest(
        asset=attempt.node.name,
        partition=attempt.partition,
        data_version=sealed.data_version,
        identity_hash=attempt.identity_hash,
        identity=dict(attempt.payload),
        upstream=[s.ref() for _, ps in sorted(attempt.inputs.items()) for _, s in sorted(ps.items())],
        tables=sealed.tables,
        files=sealed.files,
        counts=step.counts,
        stages=step.stages,
        measures=step.measures,
        verdict=verdict,
        passed=bool(verdict.get("passed", True)),
        keeps_forever=attempt.node.keeps_forever,
        usage=step.usage,
        answers_sha256=step.keep_answers(),
        weights=_hash_models(attempt),
        code=code_state(),
        why=reason,
        allow_stale=attempt.allowed,
        run_id=run_id,
        # Milliseconds: of two snapshots made within one second, the newer must be known.
        started_at=datetime.fromtimestamp(started, UTC).isoformat(timespec="milliseconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seconds=round(time.time() - started, 1),
    )


def _hash_models(attempt: _Attempt) -> dict[str, str]:
    """Content hashes of the models that the identity names and whose files this machine has.

    They are no identity: a model that a package carries is made when a step first needs it, and its revision fixes it. They are
    kept so that `audit --verify` can tell whether the files are those that were used.
    """
    profile, home = attempt.runtime.profile, attempt.runtime.home.root
    found = {}
    for named in find_models(attempt.payload):
        model = next((m for m in profile.models.values() if (m.name, m.revision) == named), None)
        if model and (folder := prepared_folder(model, home)):
            found[named.label] = weights_digest(folder, home)
    return found


def _publish(attempt: _Attempt, snapshot: Snapshot) -> None:
    """Move the pointer to a new snapshot. Raises ContractFailed when a critical expectation failed; the pointer stays then."""
    item, current, m = attempt.item, attempt.current, snapshot.manifest
    if not m.passed:
        failed = "; ".join((m.verdict or {})["failed"])
        kept = f"; {current.data_version} stays published" if current else ""
        raise ContractFailed(
            f"{item} was not published: {failed}{kept}. The rejected snapshot is {attempt.store.show_path(snapshot.folder)}; "
            f"see the asset's checks, then fix the input or the threshold and run: humanllm materialize '{item}'",
            snapshot,
        )
    attempt.store.publish(snapshot)
    same = ", equal to the version before" if current is not None and current.data_version == m.data_version else ""
    attempt.log(f"{item}: published {m.data_version} ({m.counts.kept:,} kept of {m.counts.entered:,}{same})")


def _pass_gate(node: Node, partition: str, runtime: Runtime, allow_stale: bool) -> list[str]:
    """Look at everything upstream of a gated node; returns the stale partitions that were allowed.

    Raises:
        StepError: the gate is closed.
    """
    stale = find_stale_upstream(runtime.graph, runtime.store, node, partition)
    clean = runtime.profile.execution.require_clean_code
    unclean = find_unclean_upstream(runtime.graph, runtime.store, node, partition) if clean else []
    if unclean or (stale and not allow_stale):
        raise StepError(describe_refusal(node, partition, [] if allow_stale else stale, unclean))
    return [str(finding) for finding in stale]


def _refuse_if_changed(attempt: _Attempt) -> None:
    """A source file or prompt that was edited while the step ran may have been read before or after: nothing is published."""
    now = attempt.node.full_identity(attempt.partition, upstream_versions(attempt.inputs))
    if digest(now) != attempt.identity_hash:
        raise StepError(
            f"{attempt.item} was not published, because this changed while it ran: "
            f"{'; '.join(explain(attempt.payload, now)[:3])}; run it again: humanllm materialize '{attempt.item}'"
        )


def _keep_prompts(payload: Mapping[str, Any], folder: Path) -> None:
    """Keep the text of every prompt that an identity names, by its hash, so that a later difference can be read line by line."""
    for name, text_sha256 in find_prompts(payload):
        path = folder / f"{text_sha256}.md"
        if not path.exists():
            text = Prompt.load(name).text
            if hashlib.sha256(text.encode()).hexdigest() == text_sha256:  # else it was edited just now: the step will notice
                write_atomically(path, text.encode())


def _audit(node: Node, step: Step) -> dict[str, Any]:
    """Check the written tables and the step's measures by the node's contract, with Great Expectations."""
    if node.contract is None:
        return {}
    paths = {t: step.writer.folder / f"{t}.parquet" for t in node.tables}
    numbers = {k: float(v) for k, v in step.measures.items() if isinstance(v, int | float | bool)}
    name = f"{node.name}/{step.item.folder}/{step.identity_hash[:12]}"
    return run_contract(node.contract, paths, numbers, step.runtime.home.data_docs, name).verdict()


def _machine_error(attempt: _Attempt, error: BaseException) -> StepError | None:
    """A sentence for a full or read-only disk or a full memory; None when the error is something else."""
    problem = None if isinstance(error, StepError) else machine_problem(error, attempt.store.root)
    return StepError(f"{attempt.item}: {problem}") if problem else None
