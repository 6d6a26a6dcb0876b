"""A graph of seven small assets that ask a deterministic model server, and the oracle that knows what must come out.

The world is plain data (`State`). `World` runs it with the real step, planner, scheduler, snapshots, engine and journal;
`expected` computes the same from scratch in plain Python, without any of them. What the oracle says:

- contents: the rows of every partition;
- questions: what is asked to compute them, so that the calls of a refresh are those never asked before;
- inputs: what a partition is made from, by content, so that it must be computed exactly when those inputs are new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import duckdb
from aiohttp import web
from pydantic import BaseModel, Field

from humanllm_assets.lineage.nodes import Dep, Graph, Node, Runtime, Step, StepError, every, same
from humanllm_assets.lineage.snapshots import SnapshotStore
from humanllm_assets.lineage.step import run_step
from humanllm_assets.sql import Column, read_rows
from resources.home import Home
from resources.llm.dummy_server import DummyServer, _json
from resources.llm.engine import Engine
from resources.llm.requests import LLMRequest
from resources.profile import Model, Role, load_profile

Item = tuple[str, str]
RECORDS = (Column("id", "VARCHAR", "record"), Column("user", "VARCHAR", "its user"), Column("text", "VARCHAR", "its text"))
PROFILES = (Column("user", "VARCHAR", "user"), Column("text", "VARCHAR", "text about the user"))
SCORES = (Column("user", "VARCHAR", "user"), Column("kept", "BOOLEAN", "score above the threshold"))
ROWS = {"rows": RECORDS}


class Record(NamedTuple):
    user: str
    text: str


@dataclass(frozen=True)
class State:
    """Everything outside that decides a result."""

    slices: Mapping[str, Mapping[str, Record]]
    min_chars: int = 3
    keep_above: int = 3
    rewrite: str = "Rewrite"
    judge: str = "Judge"
    revision: str = "1"
    temperature: float = 0.0
    weight: int = 1


class Score(BaseModel):
    score: int = Field(ge=1, le=10)


# ---- the model ---------------------------------------------------------------------------------------------------------


def said(message: str) -> str:
    """The model's free text: a pure function of the question, in which different questions often get one answer."""
    return f"said {int(hashlib.sha256(message.encode()).hexdigest(), 16) % 7}"


def scored(message: str) -> int:
    return 1 + int(hashlib.sha256(message.encode()).hexdigest(), 16) % 10


class ModelServer(DummyServer):
    """Counts every request at the server and answers by the question alone."""

    def _answer(self, request: web.Request, body: dict[str, Any], key: str) -> web.Response:
        message = body["messages"][-1]["content"]
        content = f'{{"score": {scored(message)}}}' if "response_format" in body else said(message)
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return _json({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


# ---- the oracle --------------------------------------------------------------------------------------------------------

Question = tuple[str, float, str]  # revision, temperature, message


@dataclass
class Expected:
    """What must come out of one state: per partition its rows, what it is made from, and what is asked for it."""

    rows: dict[Item, list[tuple[Any, ...]]] = field(default_factory=dict)
    inputs: dict[Item, Any] = field(default_factory=dict)
    questions: dict[Item, set[Question]] = field(default_factory=dict)


def expected(state: State) -> Expected:
    """Everything from scratch."""
    out = Expected()
    model = (state.revision, state.temperature)

    def put(item: Item, rows: list[tuple[Any, ...]], made_from: Any, questions: set[Question]) -> None:
        out.rows[item], out.inputs[item], out.questions[item] = sorted(rows), made_from, questions

    for name, records in state.slices.items():
        raw = [(i, r.user, r.text) for i, r in records.items()]
        put(("raw", name), raw, sorted(raw), set())
        eligible = [row for row in raw if len(row[2]) >= state.min_chars]
        put(("eligible", name), eligible, (sorted(raw), state.min_chars), set())
        messages = {row: f"{state.rewrite}: {row[2]}" for row in eligible}
        filtered = [(row[0], row[1], said(message)) for row, message in messages.items()]
        put(
            ("filtered", name), filtered, (sorted(eligible), state.rewrite, model), {(*model, m) for m in messages.values()}
        )  # fmt: skip
    slices = {name: out.rows["filtered", name] for name in sorted(state.slices)}
    records = [row for rows in slices.values() for row in rows]
    about = {u: "Profile: " + " ".join(sorted(t for _, user, t in records if user == u)) for u in {row[1] for row in records}}
    profiles = [(user, said(message)) for user, message in about.items()]
    put(("profiles", ""), profiles, (slices, model), {(*model, m) for m in about.values()})
    judged = {user: f"{state.judge}: {text}" for user, text in profiles}
    scores = [(user, scored(message) > state.keep_above) for user, message in judged.items()]
    put(
        ("scores", ""), scores, (sorted(profiles), state.judge, state.keep_above, model), {(*model, m) for m in judged.values()}
    )  # fmt: skip
    kept = {user for user, keep in scores if keep}
    dataset = [row for row in records if row[1] in kept]
    put(("dataset", ""), dataset, (slices, sorted(scores)), set())
    put(("checkpoint", ""), [(i, u, t * state.weight) for i, u, t in dataset], (sorted(dataset), state.weight), set())
    return out


# ---- the same with the real parts --------------------------------------------------------------------------------------


class World:
    """A data home in which states are refreshed by the real machinery.

    `during`: called with (asset, partition) in the middle of every computation, to change the world or to crash.
    """

    def __init__(self, root: Path, server: ModelServer) -> None:
        self.root, self.server = root, server
        self.state = State({})
        self.store = SnapshotStore(root)
        self.computed: list[Item] = []
        self.during: Callable[[Item], None] = lambda item: None
        self._profile = load_profile("local")
        self._engine: Engine | None = None
        self._guard = Lock()

    def close(self) -> None:
        if self._engine:
            self._engine.close()

    def engine(self) -> Engine:
        with self._guard:
            if self._engine is None:
                self._engine = Engine(self._profile, self.root)
            return self._engine

    @contextmanager
    def _connect(self):
        with duckdb.connect(config={"threads": 1}) as con:
            yield con

    def graph(self) -> Graph:
        """The nodes as a fresh process would load them; identities are read from the state when they are asked for."""
        names = tuple(self.state.slices)
        model = {"revision": self.state.revision, "temperature": self.state.temperature}

        def node(name: str, partitions: tuple[str, ...], tables: Any, deps: list[Dep], compute: Any, identity: Any, **more: Any):
            return Node(
                name=name, group="g", description="d", kinds=frozenset(), tables=tables, compute=compute, partitions=partitions,
                deps=tuple(deps), identity=identity, **more,
            )  # fmt: skip

        sliced = [
            node("raw", names, ROWS, [], self._raw, lambda p: {}, external=lambda p: {"files": self._content(p)}),
            node("eligible", names, ROWS, [Dep("raw", same(names))], self._eligible, lambda p: {"min_chars": self.state.min_chars}),
            node(
                "filtered", names, ROWS, [Dep("eligible", same(names))], self._filtered,
                lambda p: {"prompt": self.state.rewrite, **model}, uses_llm=True,
            ),
        ]  # fmt: skip
        of_slices = Dep("filtered", every(("",), names))
        one = ("",)
        whole = [
            node("profiles", one, {"rows": PROFILES}, [of_slices], self._profiles, lambda p: model, uses_llm=True),
            node(
                "scores", one, {"rows": SCORES}, [Dep("profiles", {"": ("",)})], self._scores,
                lambda p: {"prompt": self.state.judge, "keep_above": self.state.keep_above, **model}, uses_llm=True,
            ),
            node("dataset", one, ROWS, [of_slices, Dep("scores", {"": ("",)})], self._dataset, lambda p: {}),
            node(
                "checkpoint", one, ROWS, [Dep("dataset", {"": ("",)})], self._checkpoint,
                lambda p: {"weight": self.state.weight}, gated=True,
            ),
        ]  # fmt: skip
        return Graph([*(sliced if names else []), *(whole if names else [])])

    def _content(self, name: str) -> str:
        return hashlib.sha256(repr(sorted(self.state.slices.get(name, {}).items())).encode()).hexdigest()

    def _begin(self, step: Step) -> None:
        self.computed.append((step.node.name, step.partition))

    def _raw(self, step: Step) -> None:
        self._begin(step)
        if step.partition not in self.state.slices:  # as a file that was deleted behind the plan's back
            raise StepError(f"raw[{step.partition}] changed while it ran: its file is gone")
        rows = [{"id": i, "user": r.user, "text": r.text} for i, r in self.state.slices[step.partition].items()]
        self.during((step.node.name, step.partition))
        step.write("rows", rows)

    def _eligible(self, step: Step) -> None:
        self._begin(step)
        step.view("raw", "raw", "rows")
        self.during((step.node.name, step.partition))
        step.copy("rows", f"select * from raw where length(text) >= {self.state.min_chars}")

    def _ask(self, step: Step, questions: dict[str, str], schema: type[BaseModel] | None = None) -> dict[str, Any]:
        key = f"model-{self.state.revision}"
        endpoints = (self.server.base_url,)
        self.engine().add_model(key, Model(name="dummy", revision=self.state.revision, endpoints=endpoints))
        role = Role(model=key, temperature=self.state.temperature, max_tokens=50)
        requests = [LLMRequest(k, (("user", message),), schema) for k, message in questions.items()]
        got = {reply.key: reply.value for reply in step.engine.ask(role, requests, label=step.node.name, log=step.log)}
        self.during((step.node.name, step.partition))
        return got

    def _filtered(self, step: Step) -> None:
        self._begin(step)
        step.view("eligible", "eligible", "rows")
        rows = list(read_rows(step.con, "select * from eligible"))
        texts = self._ask(step, {r["id"]: f"{self.state.rewrite}: {r['text']}" for r in rows})
        step.write("rows", [{**r, "text": texts[r["id"]]} for r in rows])

    def _profiles(self, step: Step) -> None:
        self._begin(step)
        step.view("records", "filtered", "rows")
        users = read_rows(step.con, "select user, string_agg(text, ' ' order by text) as texts from records group by user")
        texts = self._ask(step, {r["user"]: f"Profile: {r['texts']}" for r in users})
        step.write("rows", [{"user": user, "text": text} for user, text in texts.items()])

    def _scores(self, step: Step) -> None:
        self._begin(step)
        step.view("profiles", "profiles", "rows")
        questions = {r["user"]: f"{self.state.judge}: {r['text']}" for r in read_rows(step.con, "select * from profiles")}
        scores = self._ask(step, questions, Score)
        step.write("rows", [{"user": user, "kept": s.score > self.state.keep_above} for user, s in scores.items()])

    def _dataset(self, step: Step) -> None:
        self._begin(step)
        step.view("records", "filtered", "rows")
        step.view("scores", "scores", "rows")
        self.during((step.node.name, step.partition))
        step.copy("rows", "select r.* from records r semi join (from scores where kept) using (user)")

    def _checkpoint(self, step: Step) -> None:
        self._begin(step)
        step.view("dataset", "dataset", "rows")
        self.during((step.node.name, step.partition))
        step.copy("rows", f"select id, user, repeat(text, {self.state.weight}) as text from dataset")

    # ---- running ----

    def run(self, item: Item, *, force: bool = False, allow_stale: bool = False):
        graph = self.graph()
        runtime = Runtime(self._profile, graph, Home(self.root), self.store, self._connect, self.engine)
        return run_step(
            graph[item[0]], item[1], runtime, log=lambda line: None, run_id="run", force=force, allow_stale=allow_stale
        )

    def submit(self, item: Item, force: bool) -> Future[str | None]:
        """What the scheduler calls, in this process: a step's failure is its sentence."""
        future: Future[str | None] = Future()
        try:
            self.run(item, force=force)
            future.set_result(None)
        except StepError as e:
            future.set_result(str(e))
        return future

    def published(self) -> dict[Item, list[tuple[Any, ...]]]:
        found = {}
        for asset, partition in self.graph().all_partitions():
            if snapshot := self.store.published(asset, partition):
                rows = duckdb.sql(f"from read_parquet('{snapshot.path('rows')}')").fetchall()
                found[asset, partition] = sorted(rows)
        return found
