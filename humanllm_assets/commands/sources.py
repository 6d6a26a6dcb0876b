"""`humanllm sources`: what the profile's source files are, before anything is computed from them.

Nothing is published and no hash is taken: this is for looking at a folder of dumps while its profile is written. The rows are read by
the readers that `eligible_*` uses, so what cannot be read there is a problem here.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.filtering.rule import selection_rules
from humanllm_assets.filtering.verdicts import fails_first
from humanllm_assets.lineage.removal.gc import format_size
from humanllm_assets.sources.files import SourceError, find_files
from humanllm_assets.sources.layouts import Layout, detect_layout, load_files
from humanllm_assets.sources.readers import ReadReport, read_parts
from resources.engine_resource import duckdb_resource
from resources.errors import Explained
from resources.profile import ProfileError, resolve_path

if TYPE_CHECKING:
    import duckdb

    from resources.home import Home
    from resources.profile import Profile

_SHOWN = 20  # files or problems that are listed by name


@dataclass
class SliceFacts:
    """What lies in the files of one slice.

    `rows`: rows of the record files, unreadable ones included; `chosen`: those that the slice's subreddits and the source's window
    leave, `users` and `first`, `last` (UTC) are of them. All None when the rows were not read. `problems` stop the slice's assets;
    `notes` do not: single unreadable rows, files that another slice reads too.
    """

    source: str
    slice: str
    files: int = 0
    context_files: int = 0
    bytes: int = 0
    layouts: list[str] = field(default_factory=list)
    rows: int | None = None
    unreadable: int | None = None
    chosen: int | None = None
    users: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Facts:
    """What lies in the folders of a profile. `unused`: files that belong to no slice, by folder."""

    slices: list[SliceFacts]
    problems: list[str]
    unused: dict[str, list[str]]

    @property
    def wrong(self) -> bool:
        """Something is not there, or cannot be read."""
        return bool(self.problems or any(s.problems for s in self.slices))


Progress = Callable[[str, int], None]  # what is being read, and how many bytes were read since the last call


class UnknownSource(Explained):
    """The profile has no source of that name."""


def look_at(
    profile: Profile,
    home: Home,
    names: Collection[str],
    quick: bool,
    progress: Progress,
) -> Facts:
    """Look at the folders of some sources of a profile, of all when none is named.

    Args:
        quick: only names, sizes and layouts; no row is read.

    Raises:
        UnknownSource: the profile has no such source.
    """
    if unknown := sorted({*names} - {*profile.sources}):
        raise UnknownSource(f"profile {profile.name} has no source `{unknown[0]}`; it has {', '.join(profile.sources)}")
    facts = Facts([], [], {})
    used: Counter[Path] = Counter()
    records: dict[tuple[str, str], list[Path]] = {}
    for source, config in profile.sources.items():  # all of them: two sources may share a folder
        try:
            folder = resolve_path(config.folder)
        except ProfileError as e:
            facts.problems += [str(e)] if not names or source in names else []
            continue
        for name, part in config.slices.items():
            found = SliceFacts(source, name)
            files, context = (_find(folder, patterns, found) for patterns in (part.files, part.context_files))
            used.update({*files, *context})
            if names and source not in names:
                continue
            layouts = load_files(source)
            records[source, name] = _tell(layouts.records, files, found)
            _tell(layouts.context, context, found)
            found.files, found.context_files = len(files), len(context)
            found.bytes = sum(path.stat().st_size for path in (*files, *context))
            facts.slices.append(found)
            if not part.subreddits:
                _note_shared(profile, source, name, files, found)
    for source, config in profile.sources.items():
        if (not names or source in names) and not any(
            p.startswith("the profile's path") and config.folder in p for p in facts.problems
        ):
            folder = resolve_path(config.folder)
            unused = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p not in used)
            if unused:
                facts.unused[str(folder)] = unused
    if not quick:
        for found in facts.slices:
            _read(profile, home, found, records[found.source, found.slice], progress)
    return facts


def _find(folder: Path, patterns: list[str], found: SliceFacts) -> list[Path]:
    files: set[Path] = set()
    for pattern in patterns:
        try:
            files.update(find_files(folder, [pattern]))
        except SourceError as e:
            found.problems.append(str(e))
    return sorted(files)


def _tell(layouts: tuple[Layout, ...], files: list[Path], found: SliceFacts) -> list[Path]:
    """The files that have one of the layouts."""
    good = []
    for path in files:
        try:
            layout = str(detect_layout(layouts, path))
        except (SourceError, OSError) as e:
            found.problems.append(str(e))
            continue
        good.append(path)
        found.layouts = sorted({*found.layouts, layout})
    return good


def _note_shared(profile: Profile, source: str, name: str, files: list[Path], found: SliceFacts) -> None:
    """Rows of a file that two slices read whole would be two records each."""
    config = profile.sources[source]
    folder = resolve_path(config.folder)
    for other, part in config.slices.items():
        if other < name and not part.subreddits:
            both = {*files} & {path for pattern in part.files for path in folder.glob(pattern)}
            if both:
                found.notes.append(f"{min(both)} is also in the slice {other}; give each file to one slice")


def _read(profile: Profile, home: Home, found: SliceFacts, files: list[Path], progress: Progress) -> None:
    report, name = ReadReport(), f"{found.source} {found.slice}"
    chosen = fails_first(selection_rules(profile.sources[found.source], found.slice))
    progress(name, 0)
    home.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.scratch) as work, duckdb_resource(profile, home).get_connection() as con:
        con.execute("set enable_progress_bar = false")
        con.execute("create temp table seen (n bigint, u ubigint, first timestamp, last timestamp)")
        try:
            for _ in read_parts(con, found.source, found.slice, files, Path(work), report):
                con.execute(f"""
                    insert into seen select count(*), md5_number_lower(user_id), min(created_at), max(created_at)
                    from raw_part where ({chosen}) is null group by 2
                """)
                progress(f"{name}: {report.rows_read:,} rows", 0)
        except (SourceError, OSError) as e:
            found.problems.append(str(e))
        found.rows, found.unreadable = report.rows_read, report.unreadable
        found.notes += _describe_unreadable(con)
        most = profile.thresholds.failures.max_quarantine_rate
        if found.unreadable > most * found.rows:
            found.problems.append(
                f"{found.unreadable:,} of {found.rows:,} rows cannot be read, more than the profile's {most:.0%}"
            )
        query = "select coalesce(sum(n), 0)::bigint, count(distinct u), min(first), max(last) from seen"
        found.chosen, found.users, found.first, found.last = con.execute(query).fetchall()[0]
    progress(name, found.bytes)


def _describe_unreadable(con: duckdb.DuckDBPyConnection) -> list[str]:
    found = con.execute("""
        select reason, count(*), arg_min(line, (file, line)), min(file) from quarantine group by 1 order by 2 desc, 1
    """).fetchall()
    return [
        f"{n:,} {'row' if n == 1 else 'rows'}: {reason}; the first is line {line} of {file}" for reason, n, line, file in found
    ]


# ---- showing ---------------------------------------------------------------------------------------------------------


def show_sources(
    profile: Profile, home: Home, names: Collection[str], *, quick: bool, as_json: bool, echo: Callable[[str], None]
) -> int:
    """Print what the source files are; returns 1 when something cannot be read or is not there, else 0."""
    with _progress(profile, names, quick) as progress:
        facts = look_at(profile, home, names, quick, progress)
    if as_json:
        echo(json.dumps(asdict(facts), indent=1, default=datetime.isoformat))
        return int(facts.wrong)
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(140, Console().width))
    table = Table(
        title=f"Sources of profile {profile.name}", title_justify="left", box=box.SIMPLE, title_style="bold", pad_edge=False
    )
    for column in ("slice", "files", "layout", "size", "rows", "users", "from", "to"):
        table.add_column(column, justify="left" if column in ("slice", "layout") else "right", no_wrap=column == "slice")
    for s in facts.slices:
        files = f"{s.files:,}" + (f" + {s.context_files:,}" if s.context_files else "")
        rows = (
            "-"
            if s.rows is None
            else f"{s.rows:,}"
            if s.chosen in (None, s.rows - (s.unreadable or 0))
            else f"{s.chosen:,} of {s.rows:,}"
        )
        days = [f"{t:%Y-%m-%d}" if t else "-" for t in (s.first, s.last)]
        users = "-" if s.users is None else f"{s.users:,}"
        table.add_row(
            f"{s.source} {s.slice}",
            files,
            ", ".join(s.layouts) or "-",
            format_size(s.bytes),
            rows,
            users,
            *days,
            str(len(s.problems) or ""),
        )
    console.print(table)
    for s in facts.slices:
        for line in s.notes[:_SHOWN]:
            echo(f"{s.source} {s.slice}: {line}")
    for folder, files in facts.unused.items():
        echo(
            f"in no slice: {len(files):,} files in {folder}: {', '.join(files[:_SHOWN])}{', ...' if len(files) > _SHOWN else ''}"
        )
    for line in [*facts.problems, *(f"{s.source} {s.slice}: {p}" for s in facts.slices for p in s.problems)]:
        echo(f"problem: {line}")
    if not facts.wrong:
        echo("no problems" if not quick else "no problems in names and layouts; without --quick the rows are read too")
    return int(facts.wrong)


@contextmanager
def _progress(profile: Profile, names: Collection[str], quick: bool) -> Iterator[Progress]:
    """A bar over all bytes with the time that is left, on standard error; nothing where nobody looks at it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quick or not console.is_terminal,
    ) as bar:
        task: Any = bar.add_task("", total=_total_bytes(profile, names))
        yield lambda what, done: bar.update(task, description=what, advance=done)


def _total_bytes(profile: Profile, names: Collection[str]) -> int:
    total = 0
    for source, config in profile.sources.items():
        if not names or source in names:
            try:
                folder = resolve_path(config.folder)
            except ProfileError:
                continue
            for part in config.slices.values():
                found = {p for pattern in (*part.files, *part.context_files) for p in folder.glob(pattern) if p.is_file()}
                total += sum(path.stat().st_size for path in found)
    return total
