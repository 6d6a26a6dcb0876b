"""The `humanllm` command: arguments and help of its verbs. What a verb does stands in `commands/` and `planning/`."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from resources.home import Home
    from resources.profile import Profile


class _Explaining(TyperGroup):
    """Ends with the message alone and exit code 1 on what a person can mend (`resources/errors.py`)."""

    def invoke(self, ctx: Any) -> Any:
        from resources.errors import Explained

        try:
            return super().invoke(ctx)
        except Explained as e:
            typer.echo(str(e), err=True)
            raise typer.Exit(1) from e


app = typer.Typer(cls=_Explaining, no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Profile name or YAML file; default: HUMANLLM_PROFILE or local")
]


def _profile(name: str | None) -> tuple[Profile, Home]:
    """The profile and its data home; tombstones are read at once, because every verb needs them sooner or later."""
    from humanllm_assets.lineage.tombstones import read_tombstones
    from resources.home import home_of
    from resources.profile import load_profile

    if name:
        os.environ["HUMANLLM_PROFILE"] = name
    profile = load_profile()
    home = home_of(profile)
    read_tombstones(home)
    return profile, home


@app.command()
def materialize(
    targets: Annotated[list[str] | None, typer.Argument(help=r"asset or asset\[partition]; none = everything")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute the targets even when they are up to date")] = False,
    only: Annotated[bool, typer.Option("--only", help="leave what is upstream of the targets as it is published")] = False,
    allow_stale: Annotated[
        bool, typer.Option("--allow-stale", help="train and benchmark on what is stale; with --only, and kept in the manifest")
    ] = False,
    profile: ProfileOption = None,
) -> None:
    """Bring assets and everything upstream of them up to date; only stale partitions compute."""
    from humanllm_assets.commands.materialize import bring_up_to_date

    loaded, home = _profile(profile)
    raise typer.Exit(
        bring_up_to_date(loaded, home, targets or [], echo=typer.echo, warn=_say, force=force, only=only, allow_stale=allow_stale)
    )


Targets = Annotated[list[str] | None, typer.Argument(help=r"asset or asset\[partition]; none = everything")]
PartitionOption = Annotated[str | None, typer.Option("--partition", help="partition of targets that name an asset alone")]


@app.command()
def plan(
    targets: Targets = None,
    partition: PartitionOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    profile: ProfileOption = None,
) -> None:
    """List what is stale, why, and what rebuilding it will ask of the models. Changes nothing."""
    import json

    from humanllm_assets.graph import build_graph
    from humanllm_assets.planning.refresh_plan import make_plan
    from humanllm_assets.planning.targets import name_partition
    from humanllm_assets.planning.view import as_json as to_json
    from humanllm_assets.planning.view import as_text

    loaded, home = _profile(profile)
    found = make_plan(loaded, build_graph(loaded, home), home, name_partition(targets or [], partition))
    typer.echo(json.dumps(to_json(found), indent=1) if as_json else as_text(found))


@app.command()
def refresh(
    targets: Targets = None,
    partition: PartitionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan and check the budget only")] = False,
    max_calls: Annotated[int | None, typer.Option(min=0, help="send at most this many LLM calls")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="spend at most this much, by the profile's token prices")] = None,
    daemon: Annotated[bool, typer.Option("--daemon", help="hand it to Dagster's daemon, to watch in the UI")] = False,
    profile: ProfileOption = None,
) -> None:
    """Rebuild exactly what `plan` shows. Ends with 1 when something failed, with 3 when the budget held something back."""
    from humanllm_assets.commands.refresh import refresh_stale
    from humanllm_assets.planning.refresh_plan import Limits
    from humanllm_assets.planning.targets import name_partition

    loaded, home = _profile(profile)
    names, limits = name_partition(targets or [], partition), Limits(max_calls, max_cost)
    raise typer.Exit(refresh_stale(loaded, home, names, limits, dry_run=dry_run, daemon=daemon, echo=typer.echo))


@app.command()
def status(profile: ProfileOption = None) -> None:
    """One line per asset: how many partitions exist, are published, are stale."""
    from humanllm_assets.commands.summary import print_status

    print_status(*_profile(profile), echo=typer.echo)


@app.command()
def sources(
    names: Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help="such as reddit; none = all")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="names, sizes and layouts alone: read no rows")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="everything, as JSON")] = False,
    profile: ProfileOption = None,
) -> None:
    """List the source files of each slice: layouts, rows, users, time span, problems. Ends with 1 when there are problems."""
    from humanllm_assets.commands.sources import show_sources

    loaded, home = _profile(profile)
    raise typer.Exit(show_sources(loaded, home, names or [], quick=quick, as_json=as_json, echo=typer.echo))


@app.command()
def demo(profile: ProfileOption = None) -> None:
    """Run the whole graph and print what came out; a second time computes nothing."""
    from humanllm_assets.commands.materialize import bring_up_to_date
    from humanllm_assets.commands.summary import print_summary

    loaded, home = _profile(profile)
    typer.echo(f"HumanLLM, profile {loaded.name}: {loaded.description}")
    code = bring_up_to_date(loaded, home, [], echo=typer.echo, warn=_say)
    _stop_servers(home)
    print_summary(loaded, home)
    raise typer.Exit(code)


@app.command()
def summary(profile: ProfileOption = None) -> None:
    """Print the funnel, the quality outcome, training and benchmark results of what is published."""
    from humanllm_assets.commands.summary import print_summary

    print_summary(*_profile(profile))


@app.command("human-sample")
def human_sample(
    items: Annotated[int, typer.Option(min=1, help="how many items; as many of each source, kind and verdict")] = 120,
    seed: Annotated[int, typer.Option(help="another seed draws other items")] = 1,
    out: Annotated[Path, typer.Option(help="folder for sheet.html and sheet.csv")] = Path("human_check"),
    profile: ProfileOption = None,
) -> None:
    """Draw judged items for people to score: a page that works offline, and the same as CSV (docs/human_check.md)."""
    from humanllm_assets.commands.human import draw_sample

    loaded, home = _profile(profile)
    draw_sample(loaded, home, items, seed, out, typer.echo)


@app.command("human-score")
def human_score(
    sheets: Annotated[list[Path], typer.Argument(metavar="SHEET.csv", help="the scored sheet of each annotator")],
    profile: ProfileOption = None,
) -> None:
    """Print what annotators scored, and how far they agree with each other and with the judge."""
    from humanllm_assets.commands.human import score_sheets

    loaded, home = _profile(profile)
    score_sheets(loaded, home, sheets, typer.echo)


@app.command()
def export(
    dataset: Annotated[str, typer.Argument(help=r"recipe, task_datasets, or one pair such as social_qa-reddit")],
    to: Annotated[str, typer.Option("--to", help="llamafactory, trl, axolotl, messages or sharegpt")],
    out: Annotated[Path | None, typer.Option(help="new folder; default: exports/<dataset>-<form>")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="leave out longer samples, counted by --tokenizer")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="model folder whose tokenizer and chat template count tokens")] = None,
    profile: ProfileOption = None,
) -> None:
    """Write samples in the form of another trainer, with a data card, into a new folder (docs/exports.md)."""
    from humanllm_assets.commands.export import export as run

    loaded, home = _profile(profile)
    run(loaded, home, dataset, to, out, max_tokens=max_tokens, tokenizer=tokenizer, echo=typer.echo)


audit_app = typer.Typer(no_args_is_help=True, help="Which records fed a checkpoint, and where a record or user went.")
app.add_typer(audit_app, name="audit")
JsonOption = Annotated[bool, typer.Option("--json", help="everything, as JSON")]


@audit_app.callback(invoke_without_command=True)
def audit_home(
    context: typer.Context,
    verify: Annotated[bool, typer.Option("--verify", help="recompute every hash of the data home, print its anchor")] = False,
    anchor: Annotated[str, typer.Option("--anchor", help="an anchor printed before: exit code 1 when it is another now")] = "",
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Which records fed a checkpoint, and where a record or user went; with --verify alone, whether the home is as it was."""
    from humanllm_assets.commands.audit import audit_home as run

    if context.invoked_subcommand is None and (verify or anchor):
        loaded, home = _profile(profile)
        raise typer.Exit(run(home.root, loaded, anchor=anchor, as_json=as_json, echo=typer.echo, warn=_say))
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@audit_app.command("checkpoint")
def audit_checkpoint(
    key: Annotated[str, typer.Argument(help="recipe, recipe@<data version>, or the folder of a checkpoint or merged model")],
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option("--html", help="write one self-contained page there")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="recompute every hash; exit code 1 when a byte was altered")] = False,
    profile: ProfileOption = None,
) -> None:
    """Which records fed a checkpoint: its snapshots up to the raw files, and the samples it consumed."""
    from humanllm_assets.commands.audit import audit_checkpoint as run

    loaded, home = _profile(profile)
    raise typer.Exit(run(home.root, loaded, key, as_json=as_json, html=html, check=verify, echo=typer.echo, warn=_say))


@audit_app.command("record")
def audit_record(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="for example reddit:t3_abc")],
    all_versions: Annotated[bool, typer.Option("--all-versions", help="every retained snapshot, not the published ones")] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Everything that a record reached, and where it was left out and why."""
    from humanllm_assets.commands.audit import audit_record as run

    _, home = _profile(profile)
    raise typer.Exit(run(home.root, record_id, all_versions=all_versions, as_json=as_json, echo=typer.echo))


@audit_app.command("user")
def audit_user(
    user_id: Annotated[str, typer.Argument(metavar="SOURCE/NAME", help="for example reddit/alice")],
    all_versions: Annotated[bool, typer.Option("--all-versions", help="every retained snapshot, not the published ones")] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Everything that a user's records reached, and where they were left out and why."""
    from humanllm_assets.commands.audit import audit_user as run

    _, home = _profile(profile)
    raise typer.Exit(run(home.root, user_id, all_versions=all_versions, as_json=as_json, echo=typer.echo))


prompt_app = typer.Typer(no_args_is_help=True, help="See, try and compare the prompts that models are asked.")
app.add_typer(prompt_app, name="prompt")
PromptName = Annotated[str, typer.Argument(metavar="NAME", help="a file of prompts/, without .md")]
AboutOption = Annotated[
    str | None, typer.Option("--record", metavar="ID", help="a record, user or item; without it, whatever is asked first")
]
WithinOption = Annotated[
    list[str] | None, typer.Option("--in", metavar="TARGET", help=r"asset or asset\[partition] to look through; default: all")
]


@prompt_app.command("show")
def prompt_show(name: PromptName, record: AboutOption = None, within: WithinOption = None, profile: ProfileOption = None) -> None:
    """A prompt as it is asked about a record, and the answer that is known. Asks no model."""
    from humanllm_assets.commands import prompt

    loaded, home = _profile(profile)
    prompt.show(loaded, home, name, record, within or [], echo=typer.echo, log=_say)


@prompt_app.command("try")
def prompt_try(
    name: PromptName,
    record: AboutOption = None,
    n: Annotated[int, typer.Option("--n", min=1, max=100, help="how many answers, with different seeds")] = 1,
    within: WithinOption = None,
    profile: ProfileOption = None,
) -> None:
    """Ask the model a prompt about a record: what came, beside what it is read as. The file may be edited between two tries."""
    from humanllm_assets.commands import prompt

    loaded, home = _profile(profile)
    prompt.try_out(loaded, home.prepare(loaded), name, record, within or [], n, echo=typer.echo, log=_say)


@prompt_app.command("diff")
def prompt_diff(name: PromptName, profile: ProfileOption = None) -> None:
    """A prompt's file against the texts that published partitions were made with; ends with 1 when they differ."""
    from humanllm_assets.commands import prompt

    loaded, home = _profile(profile)
    raise typer.Exit(prompt.diff(loaded, home, name, echo=typer.echo))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="recipe, recipe@<data version>, or a model folder")],
    second: Annotated[str, typer.Argument(help="the same")],
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """What differs between the data of two checkpoints."""
    from humanllm_assets.commands.audit import audit_diff

    _, home = _profile(profile)
    raise typer.Exit(audit_diff(home.root, first, second, as_json=as_json, echo=typer.echo))


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="port on loopback")] = 3000,
    profile: ProfileOption = None,
) -> None:
    """Start Dagster's UI and daemon on loopback, with the profile's instance, and the server of the checks' pages."""
    from humanllm_assets.commands.ui import serve_ui

    loaded, home = _profile(profile)
    home.prepare(loaded)
    serve_ui(home, port, typer.echo)


@app.command()
def stop(profile: ProfileOption = None) -> None:
    """Stop model servers that were started here."""
    _, home = _profile(profile)
    _stop_servers(home)


@app.command()
def repair(profile: ProfileOption = None) -> None:
    """Free what killed processes still hold: runs, places in pools, leases, unfinished snapshots. Other commands do it too."""
    from humanllm_assets.commands.materialize import repair as run

    loaded, home = _profile(profile)
    run(home.prepare(loaded), echo=typer.echo)


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
    from humanllm_assets.commands import forget as command

    loaded, home = _profile(profile)
    if listing:
        command.list_forgotten(home, typer.echo)
        return
    confirm = None if yes else typer.confirm
    raise typer.Exit(command.forget(loaded, home, user, reason, purge=purge, as_json=as_json, confirm=confirm, echo=typer.echo))


@app.command()
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="remove; without it, only list what would go")] = False,
    grace_minutes: Annotated[float, typer.Option(help="keep what is younger than this")] = 60,
    rejected_days: Annotated[float, typer.Option(help="keep snapshots that broke their contract this long")] = 7,
    profile: ProfileOption = None,
) -> None:
    """Remove what neither a published partition nor a checkpoint was made from."""
    from humanllm_assets.commands.forget import collect_garbage

    loaded, home = _profile(profile)
    collect_garbage(loaded, home, grace_minutes=grace_minutes, rejected_days=rejected_days, remove=yes, echo=typer.echo)


def _stop_servers(home: Home) -> None:
    from resources.llm.local_servers import stop_all

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
        from resources.home import homes, machine_problem

        if (problem := machine_problem(e, homes())) is None:
            raise
        print(problem, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
