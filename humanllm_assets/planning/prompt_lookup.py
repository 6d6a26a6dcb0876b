"""Which questions a prompt asks about a record, found by the steps' own code: nothing here knows how a stage fills a template.

A step whose identity names the prompt is rehearsed (`forecast.py`): it asks the journal instead of servers, and its questions are
watched on their way. So a prompt is shown exactly as the pipeline asks it, with the text of its file as it is now.

What belongs here: finding questions, and which texts of a prompt published partitions were made with. What does not: layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from humanllm_assets.lineage.identity import find_prompts
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Runtime
from humanllm_assets.lineage.snapshots import SnapshotError
from humanllm_assets.planning.forecast import rehearse
from resources.errors import Explained
from resources.home import Home
from resources.llm.rehearsal import Rehearsal
from resources.llm.requests import LLMReply, LLMRequest, Log
from resources.profile import Profile, Role
from resources.prompting.prompts import Prompt


class PromptLookupError(Explained):
    """Nothing can be shown; the message says what was looked through and what to do."""


class Asked(NamedTuple):
    """One question, as a step asks it."""

    item: Item
    role: Role
    label: str
    request: LLMRequest


class _Watch(Rehearsal):
    """Keeps the questions of one prompt about one record, or about the first one that comes."""

    def __init__(self, profile: Profile, home: Home, prompt: str, about: str | None) -> None:
        super().__init__(profile, home)
        self._prompt = prompt
        self._about = re.compile(rf"(?<![\w-]){re.escape(about)}(?![\w-])") if about else None
        self.item = Item("")
        self.found: list[Asked] = []

    def ask(
        self, role: Role, requests: Iterable[LLMRequest], *, label: str, log: Log, total: int | None = None
    ) -> Iterator[LLMReply]:
        def watched() -> Iterator[LLMRequest]:
            for request in requests:
                if request.prompt == self._prompt and self._wants(request):
                    self.found.append(Asked(self.item, role, label, request))
                yield request

        yield from super().ask(role, watched(), label=label, log=log, total=total)

    def _wants(self, request: LLMRequest) -> bool:
        if self._about is None:
            return not self.found
        return bool(self._about.search(request.key) or self._about.search(request.subject))


def find_questions(runtime: Runtime, prompt: str, about: str | None, within: Sequence[Item], log: Log) -> list[Asked]:
    """The questions that a prompt asks about a record, user or item, from the first partition that asks any.

    Args:
        about: a record id, user id or an item's key, whole; None: whatever is asked first.
        within: the partitions to look through.
        log: told which partition is looked through.

    Raises:
        PromptLookupError: no partition asks it; says why.
    """
    Prompt.load(prompt)
    nodes = runtime.graph.nodes
    asking = [i for i in within if nodes[i.asset].uses_llm and prompt in _names(nodes[i.asset].identity(i.partition))]
    if not asking:
        raise PromptLookupError(f"no asset asks a model with the prompt `{prompt}`: it is a template of samples, or not used")
    problems: list[str] = []
    with _Watch(runtime.profile, runtime.home, prompt, about) as watch:
        watching = replace(runtime, engine=lambda: watch)
        for watch.item in asking:
            log(f"looking through {watch.item} ...")
            try:
                rehearse(watching, runtime.graph[watch.item.asset], watch.item.partition)
            except (Explained, OSError) as e:
                problems.append(str(e))
            if watch.found:
                return watch.found
    what = f"asks the prompt `{prompt}` about {about}" if about else f"asks the prompt `{prompt}`"
    why = f"; {len(problems)} of them could not be looked through: {problems[0]}" if problems else ""
    raise PromptLookupError(f"none of {len(asking)} partitions ({asking[0]} ...) {what}{why}")


def _names(identity: Any) -> set[str]:
    return {prompt.name for prompt in find_prompts(identity)}


class MadeWith(NamedTuple):
    """One text of a prompt, and the published partitions that were made with it. `text` is None when it was not kept."""

    text_sha256: str
    text: str | None
    items: list[Item]


def find_texts(runtime: Runtime, prompt: str, folder: Path) -> list[MadeWith]:
    """Which texts of a prompt the published partitions were made with.

    Args:
        folder: where texts are kept by their hash, `Home.prompts`.
    """
    found: dict[str, list[Item]] = {}
    for item in runtime.graph.all_partitions():
        try:
            snapshot = runtime.store.published(*item)
        except SnapshotError:
            continue
        for named in find_prompts(snapshot.manifest.identity) if snapshot else ():
            if named.name == prompt:
                found.setdefault(named.text_sha256, []).append(item)
    texts = []
    for sha256, items in found.items():
        kept = folder / f"{sha256}.md"
        texts.append(MadeWith(sha256, kept.read_text(encoding="utf-8") if kept.is_file() else None, items))
    return texts
