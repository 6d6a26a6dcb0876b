"""`humanllm audit` and `humanllm diff`: what each looks up, shows and returns as its exit code.

What belongs here: the order of what the commands do. What does not: finding (`lineage/audit/`), layout (its `*_view.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from humanllm_assets.lineage.audit.chain import AuditError, resolve, walk
from humanllm_assets.lineage.audit.checkpoint import make_report, read_consumed
from humanllm_assets.lineage.audit.checkpoint_view import (
    describe_verification,
    print_report,
    print_verification,
    write_html,
    write_json,
)
from humanllm_assets.lineage.audit.diff import compare, print_diff
from humanllm_assets.lineage.audit.trace import Trace, explain_nothing, trace
from humanllm_assets.lineage.audit.trace_view import as_data, print_trace
from humanllm_assets.lineage.audit.verify import verify, verify_home
from humanllm_assets.lineage.snapshots import SnapshotStore

if TYPE_CHECKING:
    from humanllm_assets.lineage.items import Item
    from resources.profile import Profile

Echo = Callable[[str], None]


def audit_checkpoint(
    home: Path,
    profile: Profile,
    key: str,
    *,
    as_json: bool = False,
    html: Path | None = None,
    check: bool = False,
    echo: Echo,
    warn: Echo,
) -> int:
    """Show which records fed a checkpoint; returns 1 when something of its chain is missing or altered, else 0.

    Args:
        html: also write a page there.
        check: recompute every hash.
        warn: receives what is not part of the answer: progress, and where the page is.

    Raises:
        AuditError: the key names no checkpoint, or more than one, or its samples cannot be read.
    """
    store = SnapshotStore(home)
    target = resolve(store, key)
    chain = walk(store, target.snapshot)
    verification = verify(store, chain, target, profile, warn, _declare(profile, home)) if check else None
    damage = verification.damage if verification else chain.damage
    broken = any(d.altered for d in damage)
    try:
        report = make_report(store, chain, target, fresh=check)
    except duckdb.Error as e:
        if not check or not broken:
            raise AuditError(
                f"the samples cannot be read ({str(e).splitlines()[0]}); run: humanllm audit checkpoint {key} --verify"
            ) from e
        report = None  # what was found altered says why
    if report and html:
        write_html(report, html, profile, verification)
        warn(f"wrote {html}")
    if as_json:
        data = {**(report or {}), **({"verification": describe_verification(verification)} if verification else {})}
        write_json(data, read_consumed(chain, chain.checkpoint) if report and chain.checkpoint else None, echo)
        return int(broken)
    if report:
        print_report(report, echo)
    if verification:
        print_verification(verification, echo)
    else:
        for d in damage:
            echo(f"WRONG  {d}")
    return int(broken)


def audit_home(home: Path, profile: Profile, *, anchor: str = "", as_json: bool = False, echo: Echo, warn: Echo) -> int:
    """Recompute every hash of a data home; returns 1 when something is missing or altered, or the anchor is another one, else 0.

    Args:
        anchor: what an earlier verification printed, or its beginning; empty: compare with none.
        warn: receives progress.
    """
    verification = verify_home(SnapshotStore(home), profile, warn, _declare(profile, home))
    same = verification.anchor.startswith(anchor.lower())
    if as_json:
        echo(json.dumps({**describe_verification(verification), "same_anchor": same if anchor else None}, indent=1))
    else:
        print_verification(verification, echo)
        if not same:
            echo("which is not the anchor given: files were changed, added or removed since it was printed")
    return int(not verification.passed or not same)


def _declare(profile: Profile, home: Path) -> frozenset[Item]:
    """The partitions that the profile declares."""
    from humanllm_assets.graph import build_graph
    from resources.home import Home

    return frozenset(build_graph(profile, Home(home)).all_partitions())


def audit_record(home: Path, record_id: str, *, all_versions: bool = False, as_json: bool = False, echo: Echo) -> int:
    """Show where a record went; returns the exit code.

    Raises:
        AuditError: no row of any snapshot knows the record.
    """
    store = SnapshotStore(home)
    return _show_trace(store, "record", trace(store, record_id=record_id, all_versions=all_versions), all_versions, as_json, echo)


def audit_user(home: Path, user_id: str, *, all_versions: bool = False, as_json: bool = False, echo: Echo) -> int:
    """Show where a user's records went; returns the exit code.

    Raises:
        AuditError: no row of any snapshot knows the user.
    """
    store = SnapshotStore(home)
    return _show_trace(store, "user", trace(store, user_id=user_id, all_versions=all_versions), all_versions, as_json, echo)


def _show_trace(store: SnapshotStore, kind: str, found: Trace, all_versions: bool, as_json: bool, echo: Echo) -> int:
    if not found.hits:
        raise AuditError(explain_nothing(store, kind, found.subject, all_versions))
    if as_json:
        echo(json.dumps(as_data(kind, found), indent=1, ensure_ascii=False, default=str))
    else:
        print_trace(store, kind, found, echo)
    return 0


def audit_diff(home: Path, first: str, second: str, *, as_json: bool = False, echo: Echo) -> int:
    """Show what differs between the data of two checkpoints; returns 0, whether they differ or not.

    Raises:
        AuditError: as `compare` does.
    """
    found = compare(SnapshotStore(home), first, second)
    if as_json:
        echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_diff(found, echo)
    return 0
