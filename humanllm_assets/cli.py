"""The `humanllm` command. Every verb calls what the UI also calls; no logic lives here."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
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
    from humanllm_assets.lineage.tombstones import TombstoneError, read_tombstones
    from resources.home import home_of
    from resources.profile import ProfileError, load_profile

    if name:
        os.environ["HUMANLLM_PROFILE"] = name
    try:
        profile = load_profile()
    except ProfileError as e:
        raise _fail(str(e)) from e
    home = home_of(profile)
    try:
        read_tombstones(home)  # every verb reads them sooner or later
    except TombstoneError as e:
        raise _fail(str(e)) from e
    return profile, home


def _targets(graph: Graph, names: list[str], partition: str | None = None) -> list[tuple[str, str]]:
    from humanllm_assets.targets import TargetError, parse_targets

    try:
        return parse_targets(graph, names, partition)
    except TargetError as e:
        raise _fail(str(e)) from e


@app.command()
def materialize(
    targets: Annotated[list[str] | None, typer.Argument(help="asset or asset[partition]; none = everything")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute the targets even when they are up to date")] = False,
    only: Annotated[bool, typer.Option("--only", help="leave what is above the targets as it is published")] = False,
    allow_stale: Annotated[
        bool, typer.Option("--allow-stale", help="train and benchmark on what is stale; with --only, and kept in the manifest")
    ] = False,
    profile: ProfileOption = None,
) -> None:
    """Bring assets and everything above them up to date; only stale partitions compute."""
    loaded, home = _profile(profile)
    raise typer.Exit(_materialize(loaded, home, targets or [], force=force, only=only, allow_stale=allow_stale))


def _materialize(
    profile: Profile, home: Home, targets: list[str], *, force: bool = False, only: bool = False, allow_stale: bool = False
) -> int:
    from humanllm_assets.build import build_graph
    from humanllm_assets.runs import materialize as run

    started = time.time()
    graph = build_graph(profile, home.prepare(profile))
    wanted = _targets(graph, targets)
    summary = run(profile, graph, home, wanted, echo=typer.echo, force=force, only=only, allow_stale=allow_stale)
    typer.echo(
        f"{len(summary.computed)} computed, {len(summary.fresh)} already up to date, {len(summary.failed)} failed, "
        f"{len(summary.skipped)} skipped behind a failure; {time.time() - started:.0f} s"
    )
    for label, message in summary.failed.items():
        typer.echo(f"  {message}" if label in message else f"  {label}: {message}", err=True)
    return 1 if summary.failed else 0


Targets = Annotated[list[str] | None, typer.Argument(help="asset or asset[partition]; none = everything")]
PartitionOption = Annotated[str | None, typer.Option("--partition", help="partition of targets that name an asset alone")]


def _named(names: list[str], partition: str | None) -> list[str]:
    return [n if partition is None or "[" in n else f"{n}[{partition}]" for n in names]


@app.command()
def plan(
    targets: Targets = None,
    partition: PartitionOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    profile: ProfileOption = None,
) -> None:
    """List what is stale, why, and what rebuilding it will ask of the models. Changes nothing."""
    import json

    from humanllm_assets import plan_view
    from humanllm_assets.build import build_graph
    from humanllm_assets.refreshing import make_plan

    loaded, home = _profile(profile)
    graph = build_graph(loaded, home)
    wanted = _targets(graph, targets or [], partition)
    found = make_plan(loaded, graph, home, _named(targets or [], partition), wanted)
    typer.echo(json.dumps(plan_view.as_json(found), indent=1) if as_json else plan_view.as_text(found))


@app.command()
def refresh(
    targets: Targets = None,
    partition: PartitionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and check the budget only")] = False,
    max_calls: Annotated[int | None, typer.Option(min=0, help="send at most so many LLM calls")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="spend at most so much, by the profile's token prices")] = None,
    daemon: Annotated[bool, typer.Option("--daemon", help="hand it to Dagster's daemon, to watch in the UI")] = False,
    profile: ProfileOption = None,
) -> None:
    """Rebuild exactly what `plan` shows. Ends with 1 when something failed, with 3 when the budget held something back."""
    from humanllm_assets import plan_view, refreshing
    from humanllm_assets.build import build_graph

    loaded, home = _profile(profile)
    graph = build_graph(loaded, home.prepare(loaded))
    names = _named(targets or [], partition)
    found = refreshing.make_plan(loaded, graph, home, names, _targets(graph, targets or [], partition))
    limits = refreshing.Limits(max_calls, max_cost)
    typer.echo(plan_view.as_text(found))
    try:
        refreshing.check_budget(found, limits)
        if dry_run or not found.items:
            return
        if daemon:
            backfill = refreshing.hand_over(found, graph, home, limits)
            typer.echo(f"Dagster has these {len(found.items)} partitions as backfill {backfill}; its daemon runs them.")
            typer.echo(f"See it with `humanllm ui` at http://127.0.0.1:3000/runs/b/{backfill}")
            return
        raise typer.Exit(refreshing.refresh(loaded, graph, home, names, limits, echo=typer.echo))
    except refreshing.RefreshError as e:
        raise _fail(str(e)) from e


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
    """Start Dagster's UI and daemon on loopback, with the profile's instance, and the server of the checks' pages."""
    import signal
    import socket
    import subprocess

    from humanllm_assets.quality.docs_server import URL_VARIABLE
    from resources.vllm_server import die_with_parent

    loaded, home = _profile(profile)
    home.prepare(loaded)
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            raise _fail(f"port {port} is in use; stop what listens there or choose another: humanllm ui --port {port + 1}")
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    root = Path(__file__).resolve().parent.parent
    os.chdir(root)
    if not os.environ.get(URL_VARIABLE):
        docs = [sys.executable, "-m", "humanllm_assets.quality.docs_server", "--folder", str(home.data_docs)]
        subprocess.Popen(docs, preexec_fn=die_with_parent)
    typer.echo(f"Dagster opens at http://127.0.0.1:{port} in some 20 s (Ctrl-C stops it)")
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a script's background jobs ignore it, and `dagster dev` could then not be stopped
    os.execv(sys.executable, command)


@app.command()
def stop(profile: ProfileOption = None) -> None:
    """Stop model servers that were started here."""
    _, home = _profile(profile)
    _stop_servers(home)


@app.command()
def forget(
    user: Annotated[str, typer.Argument(metavar="SOURCE/USER", help="for example reddit/alice")] = "",
    reason: Annotated[str, typer.Option(help="kept in plain text: name nobody")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="act without asking")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="delete what is left of a forgotten user")] = False,
    listing: Annotated[bool, typer.Option("--list", help="list who is forgotten, by hash")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON; without --yes nothing is changed")] = False,
    profile: ProfileOption = None,
) -> None:
    """Show what holds a user, forget the user, and with --purge delete what is left (docs/takedown.md)."""
    import json

    from humanllm_assets.build import build_graph
    from humanllm_assets.lineage import takedown
    from humanllm_assets.lineage.snapshots import SnapshotStore
    from humanllm_assets.lineage.tombstones import read_tombstones
    from humanllm_assets.runs import running_since
    from resources.journal import JournalInUse

    loaded, home = _profile(profile)
    try:
        if listing:
            for t in read_tombstones(home):
                typer.echo(f"{t.forgotten_at[:10]}  {t.site:<8} {t.user_sha256[:12]}  {t.reason}")
            return
        takedown.check_user(loaded, user)
        graph, store = build_graph(loaded, home.prepare(loaded)), SnapshotStore(home.root)
        held, unreadable = takedown.holdings(graph, store, user), takedown.quarantined(loaded, store, user)
        if not as_json:
            for line in takedown.lines(held, unreadable, user):
                typer.echo(line)
            if not yes and not typer.confirm(f"{'Purge' if purge else 'Forget'} {user}?"):
                raise typer.Exit(1)
        done: dict[str, object] = {"user": user, "holdings": [h.as_dict() for h in held], "unreadable_rows": unreadable}
        if yes or not as_json:
            tombstone = takedown.forget(loaded, home, store, user, reason)
            done["tombstone"] = tombstone.model_dump()
            if purge:
                if running_since(home) is not None:
                    raise _fail("a run is in progress and may read what is to be deleted; wait for it or cancel it, then purge")
                done["receipt"] = str(takedown.purge(graph, home, store, user))
        text = json.dumps(done, indent=1) if as_json else takedown.said(user, done)
    except (takedown.TakedownError, JournalInUse) as e:
        raise _fail(str(e)) from e
    typer.echo(text)


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="remove; without it, only list what would go")] = False,
    grace_minutes: Annotated[float, typer.Option(help="keep what is younger than this")] = 60,
    rejected_days: Annotated[float, typer.Option(help="keep snapshots that broke their contract this long")] = 7,
    profile: ProfileOption = None,
) -> None:
    """Remove what neither a published partition nor a checkpoint was made from."""
    from humanllm_assets.build import build_graph
    from humanllm_assets.lineage.gc import DAY_S, garbage, lines, remove, size
    from humanllm_assets.lineage.snapshots import SnapshotStore
    from humanllm_assets.runs import running_since

    loaded, home = _profile(profile)
    graph, now = build_graph(loaded, home.prepare(loaded)), time.time()
    since = running_since(home)
    if since is not None:
        typer.echo(f"a run is in progress since {datetime.fromtimestamp(since):%Y-%m-%d %H:%M}; what was published since stays")
    before = min(now, since or now) - 60 * grace_minutes
    found = garbage(graph, home, SnapshotStore(home.root), before=before, rejected_before=now - DAY_S * rejected_days)
    for line in lines(found):
        typer.echo(line)
    if not found:
        typer.echo("nothing to remove")
    elif yes:
        typer.echo(f"{size(remove(found))} freed")
    else:
        typer.echo(f"{size(sum(r.bytes for r in found))} would be freed; to remove it: humanllm gc --yes")


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
    except Exception as e:
        from resources.home import homes, storage_problem

        if (problem := storage_problem(e, homes())) is None:
            raise
        print(problem, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
