"""Faults in the middle of runs, again and again: what comes out must be what an undisturbed run makes.

    python benchmarks/chaos.py                       100 faults: half an hour on two processors
    python benchmarks/chaos.py --faults 8 --seed 3   the same in small

The embedded sample goes through the whole graph but training, with models that a small server of ours plays. First undisturbed; then
in fresh homes, each run hit by one fault and begun again until the graph is complete, until so many faults happened. A fault is aimed
at a partition, and strikes a drawn moment after that partition's step began, mostly one with questions in flight. What is drawn
follows from the seed; where exactly in a step a fault strikes, the machine decides.

Faults: `kill_all` ends the command with all its processes, `kill_command` the command alone, `kill_worker` one worker process,
`terminate` asks the command to end; `restart_server` ends the model server with its connections and starts it again; `fill_disk` leaves no
byte on the disk until the command has ended (the home then lies on a tmpfs, which takes root); `shift_clock` runs the command with a clock that
is days wrong and kills it (that takes libfaketime: Debian's package faketime).

Law, for every home: each run ends by itself within `--patience` seconds and without a traceback; at the end every partition has the
data version and the journal every answer of the undisturbed run; no question reached the server twice beyond those in flight when a fault struck;
after one more command nothing is left behind: no run in progress, no place in a pool, no unfinished snapshot, semaphore or folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from humanllm_assets.graph import build_graph
from humanllm_assets.lineage.items import Item
from humanllm_assets.lineage.nodes import Graph
from humanllm_assets.orchestration.instance import open_instance
from humanllm_assets_tests.conftest import Project, small_profile
from resources.llm.dummy_server import DummyServer
from resources.processes import Holder
from resources.profile import PROJECT_ROOT

FAULTS = {  # with how often each is drawn
    "kill_all": 40,
    "kill_command": 14,
    "kill_worker": 16,
    "terminate": 8,
    "restart_server": 10,
    "fill_disk": 6,
    "shift_clock": 6,
}
KILLS = ("kill_all", "kill_command", "kill_worker", "terminate", "shift_clock")
LATENCY_S = 0.4  # of the server, so that questions are in flight most of the time
FAULTS_OF_A_HOME = 8  # then it is completed, and checked, and another one begins
NEXT = 30  # a fault aims at one of so many next partitions
DISK = "400m"
LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
_BEGAN = re.compile(r"^    (\w+(?:\[[^\]]*\])?): computing")
_SUMMARY = re.compile(r"^(\d+) computed, (\d+) already up to date, (\d+) failed")


class Broken(Exception):
    """The law does not hold; the message says where."""


@dataclasses.dataclass
class Outcome:
    """What a complete home holds: data versions by partition, answers of the journal by key, without their times."""

    versions: dict[Item, str]
    answers: dict[str, tuple]
    order: list[Item]
    """The partitions in the order in which their steps began."""


class Home:
    """One home with its model server, and what is counted over its runs."""

    def __init__(self, folder: Path, patience_s: float) -> None:
        self.server = DummyServer(latency_s=LATENCY_S)
        self.arrived: Counter[str] = Counter()  # requests by their bodies' hash, at servers that were stopped
        self.in_flight = 0  # when faults struck
        self._patience_s = patience_s
        self.folder = folder
        folder.mkdir()
        profile_file = folder / "small.yaml"
        self.server.__enter__()
        profile_file.write_text(yaml.safe_dump(small_profile(self.server.base_url), sort_keys=False), encoding="utf-8")
        self.project = Project(folder / "data", profile_file)

    def stop_server(self) -> None:
        self.server.__exit__(None, None, None)
        self.arrived.update(self.server.keys)

    def restart_server(self) -> None:
        port = self.server.port
        self.stop_server()
        self.server = DummyServer(port, latency_s=LATENCY_S)
        self.server.__enter__()

    def count_claims(self) -> int:
        """Questions that any process has claimed: asked, and the answer not yet in the journal."""
        try:
            inode = str((self.project.home.root / "journal" / "asking.lock").stat().st_ino)
        except FileNotFoundError:
            return 0
        locks = (line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines())
        return sum(1 for f in locks if f[1] == "OFDLCK" and f[3] == "WRITE" and f[5].endswith(f":{inode}") and f[6] == f[7])

    def find_worker(self, item: Item) -> int | None:
        """The process that writes a partition now."""
        for path in self.project.store.partition_folder(*item).glob(".writing-*"):
            holder = Holder.parse(path.name.removeprefix(".writing-"))
            if holder and holder.lives:
                return holder.pid
        return None

    def start(self, environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "humanllm_assets.cli", "materialize"],
            env={**self.project.environment(), **environment},
            cwd=PROJECT_ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it can be killed with all its processes
        )

    def run(self, fault: Fault | None = None) -> Run:
        """One `humanllm materialize`, struck by the fault when its aim is seen."""
        process = self.start(fault.environment if fault else {})
        run = Run()
        late = threading.Timer(self._patience_s, os.killpg, (process.pid, signal.SIGKILL))
        late.start()
        try:
            for line in process.stdout or ():
                run.output.append(line.rstrip())
                if (began := _BEGAN.match(line)) and (item := Item.parse(began[1])):
                    run.began.append(item)
                if fault and not run.struck and run.began and run.began[-1] == fault.aim:
                    time.sleep(fault.delay_s)
                    run.struck = fault.strike(self, process)
            run.status = process.wait()
        finally:
            if not late.is_alive():
                raise Broken(f"the run did not end within {self._patience_s:.0f} s:\n" + "\n".join(run.output[-30:]))
            late.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if fault:
                fault.mend(self)
        return run

    @property
    def graph(self) -> Graph:
        return build_graph(self.project.profile, self.project.home)

    def read(self, order: list[Item]) -> Outcome:
        published = {item: self.project.store.published(*item) for item in self.graph.all_partitions()}
        with contextlib.closing(sqlite3.connect(self.project.home.root / "journal" / "answers.sqlite")) as journal:
            rows = journal.execute(
                "select key, model, role, subject, item_key, finish_reason, content, top_logprobs from answers"
            )
            answers = {key: tuple(rest) for key, *rest in rows}
        return Outcome({item: s.data_version if s else "nothing" for item, s in published.items()}, answers, order)


@dataclasses.dataclass
class Run:
    """A command that has ended."""

    output: list[str] = dataclasses.field(default_factory=list)
    began: list[Item] = dataclasses.field(default_factory=list)
    status: int = 0
    struck: bool = False

    def check(self) -> None:
        said = "\n".join(self.output)
        if "Traceback" in _BIRTH_BESIDE_A_DEATH.sub("", said):
            raise Broken(f"a traceback:\n{said[-4000:]}")
        if not self.struck and self.status:
            raise Broken(f"a run without a fault ended with {self.status}:\n{said[-4000:]}")


# CPython's own words, when a fork server's child is born at the moment in which another one dies: nothing is wrong, or lost.
_BIRTH_BESIDE_A_DEATH = re.compile(
    r"Traceback \(most recent call last\):\n(?:\s.*\n)*OSError: Signal \d+ ignored due to race condition"
)


@dataclasses.dataclass
class Fault:
    """One fault: its kind, the partition that it is aimed at, and how long after that partition's step began it strikes."""

    kind: str
    aim: Item
    delay_s: float
    clock: str = ""

    @property
    def environment(self) -> dict[str, str]:
        if self.kind != "shift_clock":
            return {}
        return {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME": self.clock}

    def strike(self, home: Home, process: subprocess.Popen[str]) -> bool:
        """Do it; False when what it is aimed at is gone already."""
        if self.kind == "kill_worker":
            worker = home.find_worker(self.aim)
            if worker is None:
                return False
            os.kill(worker, signal.SIGSTOP)
            home.in_flight += home.count_claims()
            os.kill(worker, signal.SIGKILL)
        elif self.kind == "restart_server":
            os.killpg(process.pid, signal.SIGSTOP)
            home.in_flight += home.count_claims()
            home.restart_server()
            os.killpg(process.pid, signal.SIGCONT)
        elif self.kind == "fill_disk":
            self._arrived = len(home.server.keys)
            home.in_flight += home.count_claims()
            _fill(home.folder / "filler")
        else:
            os.killpg(process.pid, signal.SIGSTOP)  # so that nothing is asked between counting and killing
            home.in_flight += home.count_claims()
            if self.kind in ("kill_all", "shift_clock"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(process.pid, signal.SIGKILL if self.kind == "kill_command" else signal.SIGTERM)
                os.killpg(process.pid, signal.SIGCONT)
        return True

    def mend(self, home: Home) -> None:
        """After the command's end: what a person would do."""
        filler = home.folder / "filler"
        if filler.exists():
            filler.unlink()
            home.in_flight += len(home.server.keys) - self._arrived  # answers that no disk could take


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b"\0" * size)


def list_left_behind(home: Home) -> list[str]:
    """What processes that are gone still hold, after a command has cleaned up."""
    left: list[str] = []
    with open_instance(home.project.home, left.append) as instance:
        left += [f"run {r.run_id} is {r.status.value}" for r in instance.get_runs() if not r.is_finished]
        if instance.event_log_storage.get_concurrency_info("llm").claimed_slots:
            left.append("a place in the pool `llm`")
    left += [str(p) for p in home.project.home.root.glob("snapshots/*/*/.writing-*")]
    for folder in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        for path in folder.glob("*humanllm-*"):
            holder = Holder.parse(path.name.partition("humanllm-")[2])
            left += [str(path)] if holder and not holder.lives else []
    return left


def draw(seed: int, number: int, kinds: dict[str, int], asks: set[str], left: list[Item]) -> Fault:
    """The fault of a number, at one of the next partitions: four times of five at one that asks a model."""
    chance = random.Random(f"{seed} {number}")
    [kind] = chance.choices(list(kinds), list(kinds.values()))
    near = left[:NEXT]
    asking = [item for item in near if item.asset in asks]
    aim = chance.choice(asking if asking and chance.random() < 0.8 else near)
    return Fault(kind, aim, chance.uniform(0.0, 1.2), f"{chance.choice(['-', '+'])}{chance.randint(1, 30)}d")


def check_home(home: Home, found: Outcome, wanted: Outcome) -> tuple[int, int]:
    """The law's second half; returns how many questions arrived again, and how many were in flight when faults struck.

    Raises:
        Broken: something differs.
    """
    differing = [str(i) for i in wanted.versions if found.versions.get(i) != wanted.versions[i]]
    if differing:
        raise Broken(f"{len(differing)} partitions differ from the undisturbed run: {', '.join(differing[:10])}")
    if found.answers != wanted.answers:
        lost, extra = wanted.answers.keys() - found.answers.keys(), found.answers.keys() - wanted.answers.keys()
        raise Broken(f"the journal differs: {len(lost)} answers lost, {len(extra)} that the undisturbed run does not have")
    again = sum(home.arrived.values()) - len(home.arrived)
    if again > home.in_flight:
        raise Broken(f"{again} questions arrived again, only {home.in_flight} were in flight when faults struck")
    if left := list_left_behind(home):
        raise Broken(f"left behind: {'; '.join(left)}")
    return again, home.in_flight


@contextlib.contextmanager
def on_small_disk() -> Iterator[tuple[Path, bool]]:
    """A folder for homes, and whether it is a disk of its own that can be filled."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], capture_output=True, check=False
            ).returncode
        )
        try:
            yield Path(folder), mounted
        finally:
            if mounted:
                subprocess.run(["umount", folder], check=True)


def break_and_complete(
    home: Home, faults: Iterator[Callable[[list[Item]], Fault]], wanted: Outcome, tell: Callable[[Fault, Run], None]
) -> Outcome:
    """Begin the command again and again, struck by one fault after another, until the graph is complete without any.

    Raises:
        Broken: a run does not end, or ends as it must not.
    """
    aim_next = next(faults, None)
    while True:
        left = [item for item in wanted.order if not home.project.store.published(*item)]
        fault = aim_next(left) if aim_next and left else None
        run = home.run(fault)
        run.check()
        if fault and run.struck:
            tell(fault, run)
            aim_next = next(faults, None)
        summary = next((m for m in map(_SUMMARY.match, run.output) if m), None)
        if run.status == 0 and summary and summary[3] == "0":
            return home.read(run.began)


def run_chaos(faults: int, seed: int, patience_s: float) -> str:
    """Run until so many faults struck; returns what happened and what the law counted, for people.

    Raises:
        Broken: the law does not hold.
    """
    struck, hit, homes, again, in_flight = Counter[str](), Counter[str](), 0, 0, 0
    with on_small_disk() as (folder, can_fill):
        kinds = {
            k: n for k, n in FAULTS.items() if (k != "fill_disk" or can_fill) and (k != "shift_clock" or LIBFAKETIME.exists())
        }
        for kind in FAULTS.keys() - kinds.keys():
            _say(f"without {kind}: {'needs root, for a tmpfs' if kind == 'fill_disk' else f'{LIBFAKETIME} is not there'}")
        undisturbed = Home(folder / "undisturbed", patience_s)
        run = undisturbed.run()
        run.check()
        undisturbed.stop_server()
        wanted = undisturbed.read(run.began)
        asks = {node.name for node in undisturbed.graph.nodes.values() if node.uses_llm}
        _say(f"undisturbed: {len(wanted.versions)} partitions, {len(wanted.answers)} answers")

        def tell(fault: Fault, run: Run) -> None:
            struck[fault.kind] += 1
            hit[fault.aim.asset] += 1
            when = f"{fault.delay_s:.2f} s after {fault.aim} began"
            _say(f"[{struck.total()}/{faults}] home {homes}: {fault.kind} {when}; the command ended with {run.status}")

        while struck.total() < faults:
            homes += 1
            home = Home(folder / f"home-{homes}", patience_s)
            numbers = range(struck.total() + 1, min(faults, struck.total() + FAULTS_OF_A_HOME) + 1)
            several = (partial(draw, seed, number, kinds, asks) for number in numbers)
            found = break_and_complete(home, several, wanted, tell)
            home.stop_server()
            counted = check_home(home, found, wanted)
            shutil.rmtree(home.folder)
            again, in_flight = again + counted[0], in_flight + counted[1]
            _say(
                f"home {homes} is complete and equal; {counted[0]} questions arrived again, {counted[1]} were in flight; nothing is left"
            )
    kills = sum(struck[kind] for kind in KILLS)
    return "\n".join(
        [
            f"{struck.total()} faults in {homes} homes, {kills} of them kills; every home complete and equal to the undisturbed run",
            "by kind:  " + ", ".join(f"{kind} {struck[kind]}" for kind in kinds),
            "by asset: " + ", ".join(f"{asset} {n}" for asset, n in hit.most_common()),
            f"questions that reached the server again: {again}; in flight when faults struck: {in_flight}",
        ]
    )


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Faults in the middle of runs; see the module's head.")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=300.0, help="seconds that one run may take")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a disk is not left mounted
    started = time.monotonic()
    try:
        print(run_chaos(arguments.faults, arguments.seed, arguments.patience))
    except Broken as e:
        raise SystemExit(f"seed {arguments.seed}: {e}") from e
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
