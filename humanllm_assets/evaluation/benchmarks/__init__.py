"""The kinds of benchmarks: what a kind is, and the registry that finds them, one module each in this folder.

A module's name is what `kind` of a benchmark in a profile says; it defines `KIND`. To add a kind, add a module here and a benchmark
to a profile. Kinds are looked up by name, and the functions of their modules are versioned one by one, like those of an
`assets.py`: an edit of one kind makes no partition of another stale, and how a table looks is in the report's identity alone.

What belongs here: the parts that every kind has. What does not: any single kind, or anything that decides a result (a package's
own file is in no identity).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from resources.profile import Benchmark, Profile, ProfileError, RoleName

if TYPE_CHECKING:
    from humanllm_assets.asking.questions import Sink, Tally
    from humanllm_assets.evaluation.contest import Built, Contest
    from humanllm_assets.evaluation.report_parts import Layout, Results
    from humanllm_assets.lineage.nodes import Step
    from humanllm_assets.pages.page import Section
    from humanllm_assets.partitions import Partitions

Row = dict[str, Any]
_VERSIONED = ("build", "answer", "summarise", "tables", "sections")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The parts of a kind of benchmark; none has a default, so a kind that lacks one cannot be loaded.

    The versioned parts are functions of the kind's own module; what they do is in the identity of what they make.
    """

    place: int
    """Order of its tables in the report, from the top."""
    roles: tuple[RoleName, ...]
    """Roles that its answers need beside the contestant."""
    answers_table: Literal["answers", "application_answers"]
    """Where its answers go."""
    pairs: Callable[[Partitions, str], tuple[str, ...]]
    """The task-source pairs whose samples the benchmark of that name is built from. Raises ProfileError for a benchmark that lacks
    what the kind needs."""
    items_identity: Callable[[Profile, Benchmark], Mapping[str, Any]]
    """What decides the items beside the benchmark's own fields, the samples and the folder."""
    build: Callable[[Step, Tally, Sink], Built]
    """The items of the benchmark that the step's partition names. Whoever asks a model counts its requests and passes the sink."""
    scores_identity: Callable[[Profile, Benchmark], Mapping[str, Any]]
    """What decides the answers beside items, contestant and the contestant's sampling."""
    answer: Callable[[Contest], list[Row]]
    """Rows of the answers table, the same number for every item."""
    summarise: Callable[[Sequence[Row], Sequence[Row]], list[Row]]
    """Rows of SUMMARY from items and answers."""
    tables: Callable[[Mapping[str, Benchmark]], list[Layout]]
    """The report's tables for the profile's benchmarks of this kind, by name; of the paper's tables also those without any. Results
    that no table holds are shown in a table of their benchmark's own."""
    sections: Callable[[Mapping[str, Benchmark], Results], list[Section]]
    """What the report shows beside tables."""


class UnknownKind(ProfileError):
    """A benchmark of a kind that does not exist."""


def add_nothing(profile: Profile, benchmark: Benchmark) -> dict[str, Any]:
    """Nothing: for kinds whose items or answers are decided by what every kind has."""
    return {}


def list_kinds() -> list[str]:
    """Names of all kinds, in the order of the report."""
    names = [m.name for m in pkgutil.iter_modules(__path__)]
    return sorted(names, key=lambda name: (load_kind(name).place, name))


@cache
def load_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        TypeError: its module lacks a part, which the message names.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    kind = getattr(module, "KIND", None)
    if not isinstance(kind, Kind):
        raise TypeError(f"{module.__name__} must define KIND, a Kind")
    for part in _VERSIONED:
        function = getattr(kind, part)
        own = getattr(function, "__module__", "") == module.__name__
        if not own or getattr(module, function.__name__, None) is not function:
            raise TypeError(
                f"the part `{part}` of {module.__name__} must be a function of that module: its version is taken there"
            )
    return kind


def kinds_of(profile: Profile) -> dict[str, Kind]:
    """The kind of each benchmark of a profile, by the benchmark's name.

    Raises:
        UnknownKind: a benchmark's kind does not exist.
        ProfileError: a role that a kind needs is missing.
    """
    known = list_kinds()
    for name, benchmark in profile.benchmarks.items():
        if benchmark.kind not in known:
            near = difflib.get_close_matches(benchmark.kind, known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise UnknownKind(
                f"benchmarks.{name} has the kind `{benchmark.kind}`, which does not exist{hint}; known kinds: {', '.join(known)}"
            )
    kinds = {name: load_kind(benchmark.kind) for name, benchmark in profile.benchmarks.items()}
    for name, kind in kinds.items():
        if missing := [role for role in kind.roles if role not in profile.roles]:
            raise ProfileError(f"roles.{missing[0]} is missing; benchmarks.{name} needs it: {profile.benchmarks[name].kind}")
    return kinds
