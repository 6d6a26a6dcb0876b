"""What a task is. Each task is declared in the module of its name, `TASK = Task(...)`, with its plan and its renderer.

What all stages know of a task (its name, its sources) stands in `resources/profile.py`. A pair of task and source has in its
identity the module of its own task and what that imports, so that an edited task makes only its own pairs stale.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from resources.errors import Explained
from resources.item_kinds import USER_TEXTS
from resources.sources import SOURCES
from resources.thresholds import Tasks

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]


class IncompleteTask(Explained):
    """A task lacks a part; the message names the part and the file."""


class Plan(NamedTuple):
    """Which samples of one task and source exist, as SQL."""

    target: str
    """Select of `targets.target_columns`: one row per possible sample."""
    person: str = "true"
    """Condition under which the text about the user is shown."""
    history: str = "true"
    """Condition under which the history is shown."""
    reason: str = "null"
    """Why a target is left out, after its own `problem`; null keeps it."""


class Given(NamedTuple):
    """What a renderer knows beside its row."""

    source: str
    limits: Tasks
    pools: Any
    """What `Task.read_pools` returned."""
    text_kind: str | None = None
    """What a text of the source is called, for a task that `says_text_kind`."""


@dataclass(frozen=True)
class Rendered:
    """One rendered task."""

    template: str
    fields: dict[str, Any]
    """What the template is rendered from."""
    answer: str
    """The wanted answer."""
    options: list[Row] | None = None
    """The candidates, if any: id, text, item_id, popularity."""


@dataclass(frozen=True)
class Task:
    """One task."""

    tables: tuple[str, ...]
    """Tables that it reads from the connection, of those that `humanllm_assets/tasks/assets.py` provides."""
    templates: tuple[str, ...]
    """Prompts that it is rendered with."""
    plan: Callable[[duckdb.DuckDBPyConnection, str, Tasks], Plan]
    """Connection, source and limits to the plan; may create temporary tables and macros `task_*`."""
    render: Callable[[Row, Given], Rendered]
    """A kept row of the plan, with the texts that `columns` adds, as a sample."""
    columns: str
    """Columns that `render` reads beside the plan's, as SQL over the plan (`p`), the target (`r`) and `joins`."""
    person: Literal["person", "style"] | None = None
    """As what a text about the user may accompany the target: item kinds that are `shown_as` this, one picked by hash."""
    records: str | None = None
    """Table of target (`r`) and history; null: the target is a synthesized item."""
    history: Literal["text", "context_title"] = "text"
    """Column of the earlier records that is shown."""
    joins: str = ""
    """Further joins of the kept rows."""
    more_records: str = "null"
    """SQL: further records that a sample is made of, beside target, history and those behind the text about the user."""
    read_pools: Callable[[duckdb.DuckDBPyConnection], Any] | None = None
    """What answers may be drawn from, read once per pair."""
    says_text_kind: bool = False
    """Its prompts say what a text of the source is called, so this name is in the identity of its pairs."""

    def text_kind_of(self, source: str) -> str | None:
        """What the prompts call a text of the source; None when they do not say."""
        return SOURCES[source].text_kind if self.says_text_kind else None

    @property
    def person_kinds(self) -> tuple[str, ...]:
        """Names of the item kinds that may accompany the target."""
        return tuple(kind.name for kind in USER_TEXTS if self.person and kind.shown_as == self.person)


def module_of(task: str) -> str:
    """The module that declares a task."""
    return f"{__package__}.{task}"


def load_task(name: str) -> Task:
    """The declaration of a task.

    Raises:
        IncompleteTask: its module does not exist or declares no `TASK`.
    """
    module = module_of(name)
    file = f"{module.replace('.', '/')}.py"
    try:
        found = getattr(importlib.import_module(module), "TASK", None)
    except ModuleNotFoundError as e:
        if e.name != module:
            raise
        raise IncompleteTask(f"the task `{name}` has no plan and no renderer; add {file} with `TASK = Task(...)`") from e
    if not isinstance(found, Task):
        raise IncompleteTask(f"the task `{name}` is not declared in {file}; add `TASK = Task(...)`")
    return found
