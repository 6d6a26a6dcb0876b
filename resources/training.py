"""How training is started, watched, resumed and read: work folders, the DeepSpeed command line, what a run left behind.

Execution only: nothing here decides a weight. The training itself is `rank.py` and `sft.py`, which run as processes of
their own; this module is light and is what assets and tests call.

A work folder holds: `config.json`, `encoded.arrow` and `held_out.arrow` (token ids and masks), `dropped.parquet`, `checkpoints/`,
`before.json`, `consumed.rank<r>.jsonl` and `metrics.jsonl` (written as it goes), `processes/` (who is running), `logs/`, and at the end
`model/`, `consumed.parquet`, `outcome.json`. Training over several hosts needs it on a file system that all of them share.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.devices import VISIBLE, limited_devices
from resources.errors import Explained
from resources.processes import Holder, die_with_parent, free_port, started_at
from resources.profile import PROJECT_ROOT, Hyperparameters, Launch, Recipe, resolve_path

LAUNCHED_BY = "HUMANLLM_LAUNCHED_BY"  # id of the process that asked for the training; its death ends the training
COMPLETE = "complete.json"  # in a checkpoint folder: every process has written its part
_KILL_WAIT_S = 30
_WATCH_S = 0.5


class TrainingError(Explained):
    """Training that cannot start or did not end well; one sentence, with the log's path where there is one."""


@dataclass(frozen=True)
class Work:
    """The paths of one training run."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def encoded(self) -> Path:
        return self.folder / "encoded.arrow"

    @property
    def held_out(self) -> Path:
        """The encoded samples of held-out users, for the loss on them."""
        return self.folder / "held_out.arrow"

    @property
    def before(self) -> Path:
        """What held before the first step: a digest of every weight tensor, the loss on held-out samples."""
        return self.folder / "before.json"

    @property
    def dropped(self) -> Path:
        """Samples that were not trained: columns of DROPPED_TRAINING in `humanllm_assets/tables.py`."""
        return self.folder / "dropped.parquet"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """JSON object per step: step, loss, learning_rate, grad_norm, samples and tokens so far, seconds, tokens_per_s, eta_s."""
        return self.folder / "metrics.jsonl"

    @property
    def processes(self) -> Path:
        return self.folder / "processes"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def consumed(self) -> Path:
        """Columns of CONSUMED in `humanllm_assets/tables.py`."""
        return self.folder / "consumed.parquet"

    @property
    def outcome(self) -> Path:
        return self.folder / "outcome.json"

    def count_dropped(self) -> dict[str, int]:
        """Samples that are not trained, by reason."""
        import duckdb

        with duckdb.connect() as con:
            return dict(
                con.execute(
                    "select reason, count(*) from read_parquet(?) group by all order by all", [str(self.dropped)]
                ).fetchall()
            )

    def consumed_log(self, rank: int) -> Path:
        """Where a process writes what it trained, a JSON object per micro step."""
        return self.folder / f"consumed.rank{rank}.jsonl"

    def failure(self, rank: int) -> Path:
        """Where a process writes why it ended early: rank, time, error."""
        return self.folder / f"failure.rank{rank}.json"

    def settings(self) -> dict[str, Any]:
        """What `config.json` says: samples, model, recipe, launch, and the `key` of all that decides the result."""
        return json.loads(self.config.read_text(encoding="utf-8"))

    def finished(self) -> bool:
        """Whether the run ended, under the very settings that `config.json` has now."""
        return self.outcome.is_file() and json.loads(self.outcome.read_text(encoding="utf-8"))["key"] == self.settings()["key"]

    def newest_checkpoint(self) -> Path | None:
        """The newest checkpoint that every process finished writing."""
        whole = [p.parent for p in self.checkpoints.glob(f"checkpoint-*/{COMPLETE}")]
        return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that a reader sees the old file or the whole new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
    partial.replace(path)


# ---- before the run --------------------------------------------------------------------------------------------------


def prepare_work(
    folder: Path,
    *,
    samples: Path,
    base_model: Path,
    recipe: Recipe,
    launch: Launch,
    module: str,
    template_arguments: Mapping[str, Any] | None = None,
    held_out: Path | None = None,
    identity: str = "",
) -> Work:
    """Make or reuse the work folder of one training run.

    Processes that an earlier run left behind are ended. What that run had reached is kept when this run would do the same
    (same samples, model, recipe, and the same division of the optimizer's state), and removed otherwise.

    Args:
        samples: Parquet from `data.training_samples` or `data.raw_samples`.
        module: what every training process runs, as `python -m <module> <config.json>`.
        template_arguments: what the base model's chat template is rendered with (`Model.chat_template_arguments`).
        held_out: samples as `samples`, of which only the loss is wanted.
        identity: what else decides the result, e.g. the identity hash of the step; a change starts from the beginning.

    Raises:
        TrainingError: the batch can't be divided among the processes, or a file is missing.
    """
    hyper = recipe.hyperparameters
    processes = world_size(launch)
    if fault := find_batch_fault(hyper, launch):
        raise TrainingError(fault)
    for path in (samples, base_model / "config.json", *([held_out] if held_out else [])):
        if not path.is_file():
            raise TrainingError(f"{path} does not exist; materialize what it comes from or correct the profile's path")
    work = Work(folder.resolve())
    work.logs.mkdir(parents=True, exist_ok=True)
    end_leftovers(work)
    decides = {
        "samples": [_content(path) for path in (samples, held_out) if path],
        "base_model": str(base_model.resolve()),
        "objective": recipe.objective,
        "hyperparameters": hyper.model_dump(),
        "template_arguments": dict(template_arguments or {}),
        "template_date": recipe.template_date.isoformat(),
        "identity": identity,
        "division": [processes, launch.micro_batch, launch.zero_stage, launch.offload_optimizer, launch.cpu],
    }
    if recipe.max_tokens:
        decides["max_tokens"] = recipe.max_tokens
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    if work.config.is_file() and work.settings().get("key") != key:
        shutil.rmtree(work.folder)
        work.logs.mkdir(parents=True)
    for old in work.folder.glob("failure.rank*.json"):
        old.unlink()
    write_json(
        work.config,
        {
            "key": key,
            "samples": str(samples.resolve()),
            "base_model": str(base_model.resolve()),
            "objective": recipe.objective,
            "hyperparameters": hyper.model_dump(),
            "template_arguments": dict(template_arguments or {}),
            "template_date": recipe.template_date.isoformat(),
            "held_out": str(held_out.resolve()) if held_out else None,
            "max_tokens": recipe.max_tokens,
            "launch": launch.model_dump(),
            "processes": processes,
            "module": module,
        },
    )
    return work


def find_batch_fault(hyper: Hyperparameters, launch: Launch) -> str | None:
    """Why the recipe's batch can't be trained exactly: it is processes x micro batch x accumulation steps.

    Raises:
        TrainingError: see `world_size`.
    """
    processes = world_size(launch)
    if hyper.batch_size % (processes * launch.micro_batch) == 0:
        return None
    return (
        f"a batch of {hyper.batch_size} can't be divided into {processes} processes x micro batch {launch.micro_batch}; "
        "change `processes` or `micro_batch` under `launch` in the profile"
    )


def _content(parquet: Path) -> str:
    """The rows of a file, whatever their order and encoding: the same samples written again must not end a resume."""
    import duckdb

    with duckdb.connect() as con:
        rows = con.execute("select count(*), bit_xor(hash(s)), sum(hash(s)) from read_parquet(?) s", [str(parquet)]).fetchone()
    return str(rows)


def world_size(launch: Launch) -> int:
    """Training processes over all hosts: `processes`, or the sum of the slots of the hostfile.

    Raises:
        TrainingError: the hostfile is missing or a line of it is not `host slots=N`.
    """
    if not launch.hostfile:
        return launch.processes
    path = resolve_path(launch.hostfile)
    if not path.is_file():
        raise TrainingError(f"the hostfile {path} does not exist; correct `hostfile` under `launch` in the profile")
    total = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        _, _, slots = text.partition("slots=")
        if not slots.strip().isdigit():
            raise TrainingError(f"the hostfile {path} has the line `{text}`; write `<host> slots=<number of GPUs>`")
        total += int(slots)
    return total


def sft_command(launch: Launch, config: Path, module: str) -> tuple[list[str], dict[str, str]]:
    """The DeepSpeed launcher's command line for a work folder's `config.json`, and the variables to add to the environment.

    On one machine this is DeepSpeed's launcher for a node; with a hostfile its runner, which starts that one on every host
    by pdsh and ssh. The command must be started by the calling process: the training ends when that process does.
    An exit status of 0 is not proof (the runner returns 0 when its launcher was killed): see `read_outcome`.

    Raises:
        TrainingError: fewer devices are visible than processes are to be started.
    """
    ranks = ["--module", "--no_local_rank", f"--enable_each_rank_log={Work(config.parent).logs}", module, str(config)]
    if launch.hostfile:
        argv = [sys.executable, "-m", "deepspeed.launcher.runner", f"--hostfile={resolve_path(launch.hostfile)}", *ranks]
    else:
        limited = None if launch.cpu else limited_devices()
        if limited is not None and len(limited) < launch.processes:
            raise TrainingError(
                f"{launch.processes} training processes need a GPU each, but {VISIBLE} shows {len(limited)} of them "
                f"({', '.join(limited) or 'none'}); correct it, or `processes` under `launch` in the profile"
            )
        devices = limited[: launch.processes] if limited else list(range(launch.processes))
        world = base64.urlsafe_b64encode(json.dumps({"localhost": devices}).encode()).decode()
        address = ["--master_addr=127.0.0.1", f"--master_port={free_port()}"]
        argv = [sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={world}", *address, *ranks]
    path = os.pathsep.join(p for p in (str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    env = {LAUNCHED_BY: str(os.getpid()), "PYTHONPATH": path}
    return argv, env | rank_environment(launch)


def rank_environment(launch: Launch) -> dict[str, str]:
    """Variables that a training process needs before its libraries load; hosts reached by ssh get them from `rank.py`."""
    env = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "HF_HUB_DISABLE_TELEMETRY": "1", "WANDB_DISABLED": "true"}
    if launch.cpu:
        env["DS_ACCELERATOR"] = "cpu"
    if launch.threads:
        env |= {"OMP_NUM_THREADS": str(launch.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return env


# ---- processes -------------------------------------------------------------------------------------------------------


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def record_process(work: Work, rank: int) -> None:
    """Write down this process and its launcher, for `end_leftovers` of a later run."""
    work.processes.mkdir(exist_ok=True)
    me = [{"holder": str(Holder.of(pid)), "host": socket.gethostname()} for pid in (os.getpid(), os.getppid())]
    write_json(work.processes / f"rank{rank}.json", me)


def end_leftovers(work: Work) -> int:
    """Kill processes of an earlier run on this work folder that outlived it; returns how many there were.

    Raises:
        TrainingError: one of them does not end.
    """
    ended = 0
    for record in work.processes.glob("rank*.json"):
        for process in json.loads(record.read_text(encoding="utf-8")):
            holder = Holder.parse(process.get("holder", ""))
            if process["host"] != socket.gethostname() or holder is None or not holder.lives:
                continue
            _kill(holder.pid)
            ended += 1
            deadline = time.monotonic() + _KILL_WAIT_S
            while holder.lives:
                if time.monotonic() > deadline:
                    raise TrainingError(
                        f"process {holder.pid} of an earlier training in {work.folder} does not end; end it by hand"
                    )
                time.sleep(0.05)
        record.unlink()
    return ended


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself in the meantime, which is what was wanted


def die_with_launcher() -> None:
    """Make this training process end when its launcher, or the process that asked for the training, ends by whatever means.

    DeepSpeed's launcher takes its children along when it is asked to stop, but not when it is killed: they would go on
    writing into the work folder. The kernel's parent-death signal covers the launcher; a watching thread covers everything
    between it and the process named by the environment variable HUMANLLM_LAUNCHED_BY.
    """
    launcher = os.getppid()
    die_with_parent(signal.SIGKILL)
    chain = _ancestors(launcher, int(os.environ.get(LAUNCHED_BY, "0")))
    threading.Thread(target=_watch, args=(launcher, chain), daemon=True, name="watch-launcher").start()


def _ancestors(launcher: int, last: int) -> dict[int, int | None]:
    """Process ids and start times from the launcher up to `last`; the launcher alone where `last` is not among its ancestors."""
    chain, pid = {launcher: started_at(launcher)}, launcher
    while pid != last:
        pid = _parent_of(pid)
        if pid <= 1:
            return {launcher: chain[launcher]}
        chain[pid] = started_at(pid)
    return chain


def _watch(launcher: int, chain: Mapping[int, int | None]) -> None:
    while all(started is not None and started_at(pid) == started for pid, started in chain.items()):
        time.sleep(_WATCH_S)
    if started_at(launcher) == chain[launcher]:
        _kill(launcher)
    os.kill(os.getpid(), signal.SIGKILL)


# ---- after the run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingOutcome:
    """What a finished run did. Losses are means over the response tokens of a step, in nats."""

    planned_steps: int
    steps: int  # that changed weights: those which the optimizer skipped are not among them
    planned_samples: int
    samples: int  # samples trained, each epoch counted
    distinct_samples: int
    epochs: float
    planned_tokens: int
    tokens: int  # all tokens of the trained samples, as they went through the model
    trained_tokens: int  # those that carried loss
    seconds: float  # of the steps that count; time lost by kills and start-up is not in it
    first_loss: float
    last_loss: float
    min_loss: float
    dropped: dict[str, int]  # samples not trained, by reason
    processes: int
    resumed_after_step: int  # step of the checkpoint that the last process started from; 0 = from the beginning
    steps_not_finite: int  # whose loss or gradient was NaN or infinite
    tensors: int  # trainable ones
    unchanged: list[str]  # trainable tensors that the training left as they were
    held_out_samples: int  # of users who are not trained on
    held_out_before: float | None  # mean loss on them before the first step; None = there are none
    held_out_after: float | None

    @property
    def tokens_per_second(self) -> float:
        """All tokens of the trained samples by the seconds of the steps that count."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def facts(self) -> dict[str, Any]:
        """Plain data for the model card, with the rate."""
        return asdict(self) | {"unchanged": len(self.unchanged), "tokens_per_second": round(self.tokens_per_second, 1)}

    def deviations(self) -> dict[str, int]:
        """Numbers that are 0 when the training did what was planned: the measures of its contract."""
        return {
            "steps_missing": abs(self.planned_steps - self.steps),
            "samples_missing": abs(self.planned_samples - self.samples),
            "tokens_missing": abs(self.planned_tokens - self.tokens),
            "steps_not_finite": self.steps_not_finite,
            "tensors_unchanged": len(self.unchanged) if self.tensors else 1,
            "held_out_not_finite": int(self.held_out_after is not None and not math.isfinite(self.held_out_after)),
        }

    def find_deviations(self) -> list[str]:
        """What differs from the plan, a sentence with its remedy for each."""
        found = self.deviations()
        some = ", ".join(self.unchanged[:3]) + (", ..." if len(self.unchanged) > 3 else "")
        sentences = {
            "steps_missing": f"{self.steps} of {self.planned_steps} planned steps changed weights; a skipped step means gradients "
            "that overflow: lower `learning_rate` or set `dtype: float32`",
            "samples_missing": f"{self.samples:,} of {self.planned_samples:,} planned samples were trained; see the log",
            "tokens_missing": f"{self.tokens:,} of {self.planned_tokens:,} planned tokens went through the model; see the log",
            "steps_not_finite": f"{self.steps_not_finite} steps had a loss or gradient that is not finite; lower `learning_rate` or "
            "set `max_grad_norm`",
            "tensors_unchanged": f"{len(self.unchanged)} of {self.tensors} trainable tensors did not change ({some}); raise "
            "`learning_rate`, or see the log for what froze them",
            "held_out_not_finite": f"the loss on held-out users is {self.held_out_after}; lower `learning_rate`",
        }
        return [sentence for name, sentence in sentences.items() if found[name]]


def read_outcome(folder: Path) -> TrainingOutcome:
    """Read what the run in a work folder did.

    Raises:
        TrainingError: the run did not finish; the message holds its last error line and the log's path.
    """
    work = Work(folder.resolve())
    if not (work.config.is_file() and work.finished() and work.consumed.is_file() and (work.model / "config.json").is_file()):
        raise training_failure(folder)
    rows = read_log(work.metrics)
    losses = [row["loss"] for row in rows]
    counts = json.loads(work.outcome.read_text(encoding="utf-8"))
    del counts["key"]
    finite = [all(math.isfinite(row[name]) for name in ("loss", "grad_norm") if row[name] is not None) for row in rows]
    return TrainingOutcome(
        **counts,
        steps_not_finite=finite.count(False),
        seconds=round(sum(row["seconds"] for row in rows), 3),
        first_loss=losses[0],
        last_loss=losses[-1],
        min_loss=min(losses),
    )


def training_failure(folder: Path, returncode: int | None = None) -> TrainingError:
    """One sentence on why the run in a work folder ended early: the first process's error, or the last line of the newest log."""
    work = Work(folder.resolve())
    log = max(work.logs.glob("*.log"), key=lambda p: p.stat().st_mtime_ns, default=None)
    failures = [json.loads(p.read_text(encoding="utf-8")) for p in work.folder.glob("failure.rank*.json")]
    if failures:
        first = min(failures, key=lambda f: f["time"])
        cause = f"process {first['rank']} said: {first['error']}"
    elif log and (lines := [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]):
        cause = f"last line: {lines[-1].strip()[:300]}"
    else:
        cause = "it wrote no log"
    status = "" if returncode is None else f" with exit status {returncode}"
    reached = work.newest_checkpoint()
    retry = f"it resumes from {reached.name} when materialized again" if reached else "no checkpoint was reached"
    return TrainingError(f"training ended early{status}; {cause}; {retry}; log: {log or work.logs}")


def run_preparation(module: str, *arguments: str) -> list[str]:
    """Run a preparing module as a process of its own; returns what it found wrong.

    Raises:
        TrainingError: it ended early.
    """
    path = os.pathsep.join(p for p in (str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-m", module, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["it printed nothing"]
        raise TrainingError(f"the samples could not be encoded (exit status {done.returncode}): {last[0].strip()[:500]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_sft(work: Work) -> TrainingOutcome:
    """Train to the end in a child process without Dagster and return what it did; output goes to the work folder's logs.

    Raises:
        TrainingError: the training did not finish.
    """
    settings = work.settings()
    argv, env = sft_command(Launch.model_validate(settings["launch"]), work.config, settings["module"])
    with (work.logs / "launcher.out").open("w", encoding="utf-8") as out:
        done = subprocess.run(argv, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT, cwd=work.folder, check=False)
    if done.returncode:
        raise training_failure(work.folder, done.returncode)
    return read_outcome(work.folder)


def read_log(log: Path) -> list[dict[str, Any]]:
    """The whole rows of a JSON-lines log; none when there is no log yet."""
    if not log.is_file():
        return []
    with log.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


def cut_log(log: Path, last_step: int) -> None:
    """Drop the rows of a JSON-lines log that belong to steps after `last_step`, and a row torn by a kill.

    What was trained after the last checkpoint is lost with the process and trained again, so it must not count twice.
    """
    if not log.is_file():
        return
    partial = log.with_suffix(".partial")
    with log.open(encoding="utf-8") as old, partial.open("w", encoding="utf-8") as new:
        for line in old:
            if line.endswith("\n") and json.loads(line)["step"] <= last_step:
                new.write(line)
    partial.replace(log)
