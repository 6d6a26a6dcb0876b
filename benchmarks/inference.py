"""What the way through the project costs beside a bare client or a bare engine.

    python benchmarks/inference.py client      CPU per question: bare aiohttp + orjson, ours, ours from the journal
    python benchmarks/inference.py replicas    answers a second of three replicas, of which one is ten times slower and one dies
    python benchmarks/inference.py size        the journal's bytes beside those of its answers, and how fast it is purged
    python benchmarks/inference.py offline     output tokens a second beside the bare vLLM engine, with the small model

`client` asks a server that always says the same, in a process of its own. Contestants take turns in one process; the CPU is that
process's own, the median of the rounds. Compare the ratios: the machine's other work counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from pydantic import BaseModel, Field

from humanllm_assets_tests.resources.engine_helpers import make_engine, make_role
from resources.llm.engine import Engine
from resources.llm.journal import Answer, Journal
from resources.llm.local_servers import stop_all
from resources.llm.open_request import Call, OpenRequest
from resources.llm.requests import LLMReply, LLMRequest
from resources.models import model_folder
from resources.profile import Profile, load_profile
from resources.prompting.prompts import json_schema

IN_FLIGHT = 64
SLOTS = 16  # of a replica
WORDS = "walks a dog in the park every single morning and thinks about what the neighbours said of the new fence "


class Verdict(BaseModel):
    """As long as the answers of most steps."""

    reason: str = Field(min_length=10, max_length=600)
    score: int = Field(ge=1, le=10)


# ---- client: CPU per question ----------------------------------------------------------------------------------------


class NullServer(asyncio.Protocol):
    """Answers every request with the same bytes."""

    answer = orjson.dumps({"reason": (WORDS * 4)[:370], "score": 7}).decode()
    body = orjson.dumps(
        {
            "id": "null",
            "object": "chat.completion",
            "model": "dummy",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 90, "total_tokens": 490},
        }
    )
    response = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        while b"\r\n\r\n" in self._got:
            head, _, rest = self._got.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self._got = rest[length:]
            self._transport.write(self.response)  # type: ignore[attr-defined]


async def serve_null() -> None:
    server = await asyncio.get_running_loop().create_server(NullServer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def make_requests(first: int, count: int) -> Iterator[LLMRequest]:
    for i in range(first, first + count):
        text = f"<record>Person {i} {WORDS * 15}</record>"
        messages = (("system", "You judge what people write."), ("user", text))
        yield LLMRequest(key=f"t3_{i:x}#judge", messages=messages, schema=Verdict, subject=f"reddit:user_{i // 10}")


async def ask_bare(url: str, first: int, count: int) -> int:
    """What is left without seeds, keys, journal, retries: a body, a request, a parsed and validated answer."""
    schema, requests, right = json_schema(Verdict), make_requests(first, count), 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            nonlocal right
            for request in requests:
                body = {
                    "model": "dummy",
                    "messages": [{"role": role, "content": content} for role, content in request.messages],
                    "max_tokens": 64,
                    "response_format": {"type": "json_schema", "json_schema": {"name": "V", "schema": schema, "strict": True}},
                }
                headers = {"Content-Type": "application/json"}
                async with session.post(url + "/v1/chat/completions", data=orjson.dumps(body), headers=headers) as response:
                    said = orjson.loads(await response.read())
                right += Verdict.model_validate_json(said["choices"][0]["message"]["content"]).score == 7

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return right


def ask(engine: Engine, first: int, count: int) -> Iterator[LLMReply]:
    return engine.ask(make_role(), make_requests(first, count), label="judge", log=lambda _: None)


def ask_ours(engine: Engine, first: int, count: int) -> int:
    return sum(isinstance(reply.value, Verdict) and reply.value.score == 7 for reply in ask(engine, first, count))


def measure_client(count: int, rounds: int) -> None:
    server = subprocess.Popen([sys.executable, __file__, "null-server"], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"
    cpu: dict[str, list[float]] = {}
    memory: list[float] = []

    def take(name: str, work: Callable[[], int]) -> None:
        started = time.process_time()
        right = work()
        cpu.setdefault(name, []).append((time.process_time() - started) / count * 1000)
        if right != count:
            raise SystemExit(f"{name}: {count - right} of {count} questions have no right answer")

    try:
        with tempfile.TemporaryDirectory() as home, make_engine(Path(home), [url], concurrency=IN_FLIGHT) as engine:
            ask_ours(engine, 0, 200)
            asyncio.run(ask_bare(url, 0, 200))
            for number in range(rounds):
                first = 1000 + number * count
                take("bare aiohttp + orjson", lambda first=first: asyncio.run(ask_bare(url, first, count)))
                take("ours, new", lambda first=first: ask_ours(engine, first, count))
                take("ours, from the journal", lambda first=first: ask_ours(engine, first, count))
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    finally:
        server.kill()
        server.wait()
    bare = statistics.median(cpu["bare aiohttp + orjson"])
    print(f"{count:,} questions a round, {rounds} rounds, {IN_FLIGHT} in flight; milliseconds of CPU per question, median")
    for name, values in cpu.items():
        print(f"{name:24}{statistics.median(values):8.3f}   {statistics.median(values) / bare:5.2f} of bare")
    print(f"peak memory after the first round {memory[0]:,.0f} MiB, after the last {memory[-1]:,.0f} MiB")


# ---- replicas: one slow, one dying -----------------------------------------------------------------------------------


@contextlib.contextmanager
def start_replica(latency_s: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server with made-up answers, `SLOTS` at a time: its address and process."""
    command = [sys.executable, "-u", "-m", "resources.llm.dummy_server", "--port", "0"]
    command += ["--latency-s", str(latency_s), "--slots", str(SLOTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().split()[-1], process
    finally:
        process.kill()
        process.wait()


def measure_replicas(count: int, latency_s: float) -> None:
    """Answers a second beside what the healthy replicas can give: two of them, and one from the middle on."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, dying, slow = (stack.enter_context(start_replica(s)) for s in (latency_s, latency_s, 10 * latency_s))
        with make_engine(home / "alone", [one[0]], concurrency=IN_FLIGHT) as engine:
            started = time.monotonic()
            answered = sum(reply.value is not None for reply in ask(engine, 0, count // 4))
            capacity = answered / (time.monotonic() - started)
        with make_engine(home / "three", [one[0], dying[0], slow[0]], concurrency=IN_FLIGHT) as engine:
            started = time.monotonic()
            answered, died = 0, started
            for reply in ask(engine, 0, count):
                answered += reply.value is not None
                if answered == count // 2:
                    dying[1].kill()
                    died = time.monotonic()
            ended = time.monotonic()
            retries = engine.usage.retries
    possible = capacity * (2 * (died - started) + (ended - died))
    print(
        f"{count:,} questions to three replicas of {SLOTS} at a time, {latency_s:g} s, one of them {10 * latency_s:g} s, one dies half way"
    )
    print(
        f"one alone gives {capacity:,.0f} answers/s; the three gave {count // 2 / (died - started):,.0f}, then {(count - count // 2) / (ended - died):,.0f}"
    )
    print(f"{answered / possible:.2f} of what the healthy ones can give; {count - answered} questions lost, {retries} sent again")


# ---- size: the journal's file beside its answers ---------------------------------------------------------------------


def draw_answers(count: int, chars: int) -> Iterator[Answer]:
    """Twenty answers about each person, of one to three times `chars` now and then, in made-up words that are as even as real ones."""
    rng = random.Random(0)
    words = ["".join(rng.choices("eeeetttaaaooiinnsshhrrddllcumwfgypbvk", k=1 + int(rng.expovariate(0.25)))) for _ in range(8000)]
    common = [1 / (rank + 3) for rank in range(len(words))]
    for i in range(count):
        text = " ".join(rng.choices(words, common, k=max(5, int(rng.lognormvariate(-0.3, 0.8) * chars / 5))))
        content = orjson.dumps({"reason": text, "score": rng.randrange(10)}).decode()
        key = hashlib.sha256(str(i).encode()).hexdigest()
        yield Answer(
            key,
            "Qwen/Qwen2.5-7B-Instruct",
            "qc_scores",
            f"reddit/user_{i // 20}",
            f"reddit:t3_{i:x}#qa0",
            900,
            90,
            "stop",
            content,
        )


def measure_size(counts: list[int], chars: int) -> None:
    """Bytes of the file over bytes of the answers; then a purge of one person, which writes the file anew."""
    for count in counts:
        with tempfile.TemporaryDirectory() as home, contextlib.closing(Journal(Path(home))) as journal:
            answers, held, cpu = draw_answers(count, chars), 0, 0.0
            while group := list(itertools.islice(answers, 50)):
                started = time.process_time()
                journal.put_many(group)
                cpu += time.process_time() - started
                held += sum(len(answer.content.encode()) for answer in group)
            before = time.monotonic()
            size = sum(path.stat().st_size for path in journal.path.parent.glob("answers.sqlite"))
            gone = journal.purge("reddit/user_7", lambda text: "reddit/user_7 " in text)
            took = time.monotonic() - before
            print(
                f"{count:,} answers of {held / count:.0f} bytes: the file has {size / held:.2f} times their size, {size / count:.0f} bytes each; "
                f"{cpu / count * 1000:.3f} ms of CPU to store one; a purge of {len(gone)} took {took:.1f} s, {size / took / 2**20:.0f} MiB/s"
            )


# ---- offline: the bare engine ----------------------------------------------------------------------------------------


def local_profile() -> Profile:
    """The small model, served as profile `local` does; the server ends soon after it was used."""
    profile = load_profile("local")
    return profile.model_copy(update={"engine": profile.engine.model_copy(update={"idle_stop_s": 1.0})})


def make_prompts(count: int) -> list[LLMRequest]:
    return [
        LLMRequest(f"{i}", (("user", f"{i}. {WORDS * 4} Go on with the story."),), None, f"user{i // 4}") for i in range(count)
    ]


def run_bare_engine(home: Path, count: int) -> None:
    """In a process of its own: the prompts through `vllm.LLM`, with the sampling that ours sends. Prints tokens and seconds."""
    from vllm import LLM, SamplingParams

    profile = local_profile()
    role, model = make_role(model="smollm2", temperature=0.7, max_tokens=64), profile.models["smollm2"]
    extra = {
        "enforce_eager": True,
        "max_num_seqs": 32,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": model.max_model_len,
    }
    llm = LLM(str(model_folder(model, home)), max_model_len=model.max_model_len, generation_config="vllm", **extra)
    asked = [OpenRequest(Call(model, role, "offline"), request) for request in make_prompts(count)]
    chats: list[Any] = [[{"role": r, "content": c} for r, c in one.request.messages] for one in asked]
    sampling = [SamplingParams(**one.sampling()) for one in asked]
    llm.chat(chats[:4], sampling[:4], use_tqdm=False)
    llm.reset_prefix_cache()
    started = time.monotonic()
    outputs = llm.chat(chats, sampling, use_tqdm=False)
    print(f"RESULT {sum(len(o.outputs[0].token_ids) for o in outputs)} {time.monotonic() - started}")


def measure_offline(count: int) -> None:
    """Output tokens a second: ours with the server that it starts, and the bare engine, one after the other on one machine."""
    profile = local_profile()
    role = make_role(model="smollm2", temperature=0.7, max_tokens=64)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            with Engine(profile, home) as engine:
                warm = (LLMRequest(f"warm{i}", (("user", f"Say {i}."),), None) for i in range(4))
                list(engine.ask(role, warm, label="warm", log=print))
                started = time.monotonic()
                replies = list(engine.ask(role, make_prompts(count), label="offline", log=print, total=count))
                ours = engine.usage.output_tokens / (time.monotonic() - started)
                if any(reply.value is None for reply in replies):
                    raise SystemExit("not every question has an answer")
        finally:
            stop_all(home)
        command = [sys.executable, __file__, "bare-engine", "--home", folder, "--questions", str(count)]
        environment = os.environ | dict(profile.engine.server_env)
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    tokens, seconds = next(line for line in said.splitlines() if line.startswith("RESULT")).split()[1:]
    bare = int(tokens) / float(seconds)
    print(f"{count:,} questions: bare engine {bare:.1f} output tokens/s, ours {ours:.1f}: {ours / bare:.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["client", "replicas", "size", "offline", "null-server", "bare-engine"])
    parser.add_argument("--questions", type=int, default=2000, help="of `client` in a round, of `replicas` and `offline` in all")
    parser.add_argument("--rounds", type=int, default=5, help="of `client`")
    parser.add_argument("--latency-s", type=float, default=0.3, help="of a replica")
    parser.add_argument("--answers", type=int, nargs="+", default=[200_000, 1_000_000], help="of `size`")
    parser.add_argument("--chars", type=int, default=400, help="of an answer of `size`, about")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "client": lambda: measure_client(given.questions, given.rounds),
        "replicas": lambda: measure_replicas(given.questions, given.latency_s),
        "size": lambda: measure_size(given.answers, given.chars),
        "offline": lambda: measure_offline(given.questions),
        "null-server": lambda: asyncio.run(serve_null()),
        "bare-engine": lambda: run_bare_engine(given.home, given.questions),
    }
    parts[given.part]()


if __name__ == "__main__":
    main()
