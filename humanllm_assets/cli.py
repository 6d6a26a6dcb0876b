"""The `humanllm` command. Every verb calls what the UI also calls; no logic lives here."""

from __future__ import annotations

import atexit
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Graph
    from resources.home import Home
    from resources.profile import Profile

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Profile name or YAML file; default: HUMANLLM_PROFILE or local")
]


def _fail(message: str) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(1)


def _profile(name: str | None) -> tuple[Profile, Home]:
    from resources.home import home_of
    from resources.profile import ProfileError, load_profile

    if name:
        os.environ["HUMANLLM_PROFILE"] = name
    try:
        profile = load_profile()
    except ProfileError as e:
        raise _fail(str(e)) from e
    return profile, home_of(profile)


def _targets(graph: Graph, names: list[str]) -> list[tuple[str, str]]:
    """`asset` means all its partitions, `asset[partition]` one; no name means the whole graph."""
    import difflib

    if not names:
        return graph.all_partitions()
    targets = []
    for text in names:
        found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text)
        if found is None:
            raise _fail(f"`{text}` is no target; write asset or asset[partition], for example: user_profiles[reddit]")
        asset, partition = found[1], found[2]
        if asset not in graph.nodes:
            near = difflib.get_close_matches(asset, graph.nodes, 1)
            raise _fail(
                f"there is no asset `{asset}`" + (f"; did you mean `{near[0]}`?" if near else "; list them with: humanllm status")
            )
        known = graph[asset].partitions
        if partition is not None and partition not in known:
            raise _fail(f"{asset} has no partition `{partition}`; it has: {', '.join(known)}")
        targets += [(asset, partition)] if partition is not None else [(asset, p) for p in known]
    return targets


@app.command()
def materialize(
    targets: Annotated[list[str] | None, typer.Argument(help="asset or asset[partition]; none = everything")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute the targets even when they are up to date")] = False,
    profile: ProfileOption = None,
) -> None:
    """Bring assets and everything above them up to date; only stale partitions compute."""
    loaded, home = _profile(profile)
    raise typer.Exit(_materialize(loaded, home, targets or [], force))


def _materialize(profile: Profile, home: Home, targets: list[str], force: bool = False) -> int:
    from humanllm_assets.build import build_graph
    from humanllm_assets.runs import materialize as run

    started = time.time()
    graph = build_graph(profile, home.prepare(profile))
    summary = run(profile, graph, home, _targets(graph, targets), echo=typer.echo, force=force)
    typer.echo(
        f"{len(summary.computed)} computed, {len(summary.fresh)} already up to date, {len(summary.failed)} failed, "
        f"{len(summary.skipped)} skipped behind a failure; {time.time() - started:.0f} s"
    )
    for label, message in summary.failed.items():
        typer.echo(f"  {message}" if label in message else f"  {label}: {message}", err=True)
    return 1 if summary.failed else 0


@app.command()
def plan(
    targets: Annotated[list[str] | None, typer.Argument(help="asset or asset[partition]; none = everything")] = None,
    profile: ProfileOption = None,
) -> None:
    """List what is stale, and why."""
    from humanllm_assets.build import build_graph
    from humanllm_assets.lineage.plan import plan as make_plan
    from humanllm_assets.lineage.snapshots import SnapshotStore

    loaded, home = _profile(profile)
    graph = build_graph(loaded, home)
    stale = make_plan(graph, SnapshotStore(home.root), _targets(graph, targets or []))
    for item in stale:
        typer.echo(str(item))
    command = "humanllm materialize" + "".join(f" '{t}'" for t in targets or [])
    typer.echo(f"{len(stale)} partitions are stale; to rebuild them: {command}" if stale else "everything is up to date")


@app.command()
def status(profile: ProfileOption = None) -> None:
    """One line per asset: how many partitions exist, are published, are stale."""
    from humanllm_assets.build import build_graph
    from humanllm_assets.lineage.plan import plan as make_plan
    from humanllm_assets.lineage.snapshots import SnapshotStore

    loaded, home = _profile(profile)
    graph = build_graph(loaded, home)
    store = SnapshotStore(home.root)
    stale = {(s.asset, s.partition) for s in make_plan(graph, store)}
    typer.echo(f"profile {loaded.name}: {loaded.description}\ndata home {home.root}")
    for node in graph.nodes.values():
        published = sum(store.published(node.name, p) is not None for p in node.partitions)
        behind = sum((node.name, p) in stale for p in node.partitions)
        typer.echo(f"  {node.group:<11} {node.name:<26} {published:>3} of {len(node.partitions):>3} published, {behind} stale")


@app.command()
def demo(profile: ProfileOption = None) -> None:
    """Run the whole graph and print what came out; a second time computes nothing."""
    from humanllm_assets.summary import print_summary

    loaded, home = _profile(profile)
    typer.echo(f"HumanLLM, profile {loaded.name}: {loaded.description}")
    code = _materialize(loaded, home, [])
    _stop_servers(home)
    print_summary(loaded, home)
    raise typer.Exit(code)


@app.command()
def summary(profile: ProfileOption = None) -> None:
    """Print the funnel, the quality outcome, training and benchmark results of what is published."""
    from humanllm_assets.summary import print_summary

    print_summary(*_profile(profile))


audit_app = typer.Typer(no_args_is_help=True, help="Which records fed a checkpoint, and where a record or user went.")
app.add_typer(audit_app, name="audit")
JsonOption = Annotated[bool, typer.Option("--json", help="everything, as JSON")]


@audit_app.command("checkpoint")
def audit_checkpoint(
    key: Annotated[str, typer.Argument(help="recipe, recipe@<data version>, or the folder of a checkpoint or merged model")],
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option("--html", help="write one self-contained page there")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="recompute every hash; exit code 1 when a byte was altered")] = False,
    profile: ProfileOption = None,
) -> None:
    """Which records fed a checkpoint: its snapshots up to the raw files, and the samples it consumed."""
    from humanllm_assets.lineage.audit import audit_checkpoint as run

    loaded, home = _profile(profile)
    raise typer.Exit(_audited(lambda: run(home.root, loaded, key, as_json, html, verify, typer.echo, _say)))


@audit_app.command("record")
def audit_record(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="for example reddit:t3_abc")],
    all_versions: Annotated[bool, typer.Option("--all-versions", help="every retained snapshot, not the published ones")] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Everything that a record reached, and where it was left out and why."""
    from humanllm_assets.lineage.trace import audit_record as run

    _, home = _profile(profile)
    raise typer.Exit(_audited(lambda: run(home.root, record_id, all_versions, as_json, typer.echo)))


@audit_app.command("user")
def audit_user(
    user_id: Annotated[str, typer.Argument(metavar="SOURCE/NAME", help="for example reddit/alice")],
    all_versions: Annotated[bool, typer.Option("--all-versions", help="every retained snapshot, not the published ones")] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Everything that a user's records reached, and where they were left out and why."""
    from humanllm_assets.lineage.trace import audit_user as run

    _, home = _profile(profile)
    raise typer.Exit(_audited(lambda: run(home.root, user_id, all_versions, as_json, typer.echo)))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="recipe, recipe@<data version>, or a model folder")],
    second: Annotated[str, typer.Argument(help="the same")],
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """What differs between the data of two checkpoints."""
    from humanllm_assets.lineage.diff import audit_diff

    _, home = _profile(profile)
    raise typer.Exit(_audited(lambda: audit_diff(home.root, first, second, as_json, typer.echo)))


def _audited(run: Callable[[], int]) -> int:
    """Run an audit; a question that cannot be answered is one sentence and exit code 1."""
    from humanllm_assets.lineage.chain import AuditError

    try:
        return run()
    except AuditError as e:
        raise _fail(str(e)) from e


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="port on loopback")] = 3000,
    profile: ProfileOption = None,
) -> None:
    """Start Dagster's UI and daemon on loopback, with the profile's instance."""
    import socket

    loaded, home = _profile(profile)
    home.prepare(loaded)
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            raise _fail(f"port {port} is in use; stop what listens there or choose another: humanllm ui --port {port + 1}")
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    root = Path(__file__).resolve().parent.parent
    os.chdir(root)
    typer.echo(f"Dagster opens at http://127.0.0.1:{port} in some 20 s (Ctrl-C stops it)")
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, command)


@app.command()
def stop(profile: ProfileOption = None) -> None:
    """Stop model servers that were started here."""
    _, home = _profile(profile)
    _stop_servers(home)


def _stop_servers(home: Home) -> None:
    from resources.vllm_server import stop_all

    stop_all(home.root)


def main() -> None:
    """Run the command and leave without tearing the interpreter down: DuckDB 2.0's binding prints some forty lines about
    leaked references there, which say nothing to a user."""
    try:
        app()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; answers and published partitions are kept: run the same command to go on", file=sys.stderr)
        code = 130
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
