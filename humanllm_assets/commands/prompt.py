"""`humanllm prompt`: see a prompt as the pipeline asks it about a record, try it on the model, compare its text with what was used.

What belongs here: what the verbs show. What does not: finding questions (`planning/prompt_lookup.py`), asking (`resources/llm/`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from humanllm_assets.graph import build_graph
from humanllm_assets.planning.prompt_lookup import Asked, find_questions, find_texts
from humanllm_assets.planning.refresh_plan import open_runtime
from humanllm_assets.planning.targets import parse_targets
from resources.llm.engine import Engine
from resources.llm.rehearsal import NOT_ASKED, Rehearsal
from resources.prompting.control_tokens import break_control_tokens
from resources.prompting.prompts import Prompt, json_schema

if TYPE_CHECKING:
    from resources.home import Home
    from resources.llm.requests import LLMReply
    from resources.profile import Profile

Echo = Callable[[str], None]


def show(profile: Profile, home: Home, name: str, about: str | None, within: Sequence[str], echo: Echo, log: Echo) -> None:
    """`prompt show`: the messages and the schema as they are sent, and what the journal answers.

    Raises:
        PromptLookupError: no partition asks the prompt about the record.
    """
    for asked in _find(profile, home, name, about, within, log):
        _print_question(profile, asked, echo)
        with Rehearsal(profile, home) as journal:
            [reply] = journal.ask(asked.role, [asked.request], label=asked.label, log=log)
        if reply.reason == NOT_ASKED:
            echo(f"-- not asked yet; ask it: humanllm prompt try {name} --record '{asked.request.key}'\n")
        else:
            _print_replies([reply], echo)


def try_out(
    profile: Profile, home: Home, name: str, about: str | None, within: Sequence[str], n: int, echo: Echo, log: Echo
) -> None:
    """`prompt try`: ask the role's model `n` times, with the role's own seed first and further ones after it.

    The answers are kept in the journal like any other: asking again costs nothing, and a takedown finds them.

    Raises:
        PromptLookupError: no partition asks the prompt about the record.
    """
    with Engine(profile, home.root) as engine:
        for asked in _find(profile, home, name, about, within, log):
            _print_question(profile, asked, echo)
            replies = []
            for i in range(n):
                role = asked.role.model_copy(update={"seed": asked.role.seed + 1000 * i})  # attempts use the seeds in between
                replies += engine.ask(role, [asked.request], label=f"prompt try {name}", log=log)
            _print_replies(replies, echo)


def diff(profile: Profile, home: Home, name: str, echo: Echo) -> int:
    """`prompt diff`: the prompt's file against the texts that published partitions were made with; 1 when they differ."""
    now = Prompt.load(name)
    texts = find_texts(open_runtime(profile, build_graph(profile, home), home), name, home.prompts)
    if not texts:
        echo(f"no published partition was made with the prompt `{name}`")
    for used in texts:
        many = f"{len(used.items)} published partitions ({used.items[0]}{' ...' if len(used.items) > 1 else ''})"
        if used.text_sha256 == now.identity["text_sha256"]:
            echo(f"as it is now: {many}")
        elif used.text is None:
            echo(f"another text, {used.text_sha256[:12]}, which was not kept: {many}")
        else:
            echo(f"another text, {used.text_sha256[:12]}: {many}; humanllm plan shows what that makes stale")
            lines = difflib.unified_diff(
                used.text.splitlines(), now.text.splitlines(), f"{name}.md as used", f"{name}.md now", lineterm=""
            )
            echo("\n".join(lines))
    return int(any(used.text_sha256 != now.identity["text_sha256"] for used in texts))


def _find(profile: Profile, home: Home, name: str, about: str | None, within: Sequence[str], log: Echo) -> list[Asked]:
    graph = build_graph(profile, home)
    return find_questions(open_runtime(profile, graph, home), name, about, parse_targets(graph, within), log)


def _print_question(profile: Profile, asked: Asked, echo: Echo) -> None:
    request, role = asked.request, asked.role
    sampling = ", ".join(f"{name} {value}" for name, value in role.sampling().items() if value is not None)
    echo(f"{asked.item}: {request.prompt} about {request.key}, asked of {profile.models[role.model].name} ({sampling})")
    for speaker, content in request.messages:
        echo(f"\n-- {speaker}\n{break_control_tokens(content)}")
    if request.schema:
        echo(f"\n-- the answer's schema\n{json.dumps(json_schema(request.schema, role.max_field_chars), indent=1)}")
    echo("")


def _print_replies(replies: Sequence[LLMReply], echo: Echo) -> None:
    """The answers as they came beside what they are read as."""
    table = Table("what came", "read as", show_lines=True)
    for reply in replies:
        value = reply.value
        read = value.model_dump_json(indent=1) if isinstance(value, BaseModel) else value or f"no answer: {reply.reason}"
        cost = f"{reply.attempts} attempt{'s' * (reply.attempts > 1)}, {reply.output_tokens} tokens"
        table.add_row(_plain(reply.raw), f"{_plain(read)}\n\n({cost}{', from the journal' * reply.from_journal})")
    console = Console(width=160, highlight=False, markup=False, color_system=None)
    with console.capture() as printed:
        console.print(table)
    echo(printed.get())


def _plain(text: str) -> str:
    """A model's words for a terminal: what could move its cursor or colour it is shown as what it is."""
    return "".join(c if c == "\n" or c.isprintable() else repr(c)[1:-1] for c in text)
