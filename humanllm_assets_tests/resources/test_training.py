"""Work folders, command lines and leftovers, without training anything."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from humanllm_assets.training.deepspeed_config import deepspeed_config
from resources.processes import Holder
from resources.profile import Hyperparameters, Launch, Recipe
from resources.training import (
    COMPLETE,
    TrainingError,
    TrainingOutcome,
    Work,
    end_leftovers,
    prepare_work,
    read_outcome,
    sft_command,
    world_size,
    write_json,
)

ONE = Launch()


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"sample_id": ["a", "b"], "conversations": ["[]", "[1]"]}), path)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return tmp_path / "base"


def prepared(tmp_path: Path, samples: Path, base: Path, launch: Launch = ONE, **hyper: float) -> Work:
    recipe = Recipe(base_model="m", hyperparameters=Hyperparameters(**hyper))  # type: ignore[arg-type]
    return prepare_work(tmp_path / "work", samples=samples, base_model=base, recipe=recipe, launch=launch, module="some.module")


def checkpoint(work: Work, step: int, complete: bool = True) -> None:
    folder = work.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if complete:
        write_json(folder / COMPLETE, {})


def test_newest_complete_checkpoint_counts(tmp_path, samples, base):
    work = prepared(tmp_path, samples, base)
    checkpoint(work, 9)
    checkpoint(work, 10)
    checkpoint(work, 11, complete=False)
    newest = work.newest_checkpoint()
    assert newest is not None and newest.name == "checkpoint-10"


def test_checkpoints_stay_for_the_same_training_only(tmp_path, samples, base):
    checkpoint(prepared(tmp_path, samples, base), 5)
    pq.write_table(pq.read_table(samples).slice(1).take([0]), tmp_path / "one")
    pq.write_table(
        pa.concat_tables([pq.read_table(samples).slice(1), pq.read_table(samples).slice(0, 1)]), samples, compression="zstd"
    )
    assert prepared(tmp_path, samples, base, Launch(save_steps=7)).newest_checkpoint()  # same rows, other order and encoding
    assert not prepared(tmp_path, samples, base, learning_rate=1e-4).newest_checkpoint()
    checkpoint(prepared(tmp_path, samples, base), 5)
    assert not prepared(tmp_path, tmp_path / "one", base).newest_checkpoint()


def test_batch_that_cannot_be_divided_is_refused(tmp_path, samples, base):
    with pytest.raises(TrainingError, match="a batch of 64 can't be divided into 3 processes x micro batch 4"):
        prepared(tmp_path, samples, base, Launch(processes=3, micro_batch=4))


def test_command_of_one_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    argv, env = sft_command(Launch(processes=2), tmp_path / "config.json", "some.module")
    world = next(a for a in argv if a.startswith("--world_info=")).partition("=")[2]
    assert json.loads(base64.urlsafe_b64decode(world)) == {"localhost": ["2", "3"]}
    assert argv[-1] == str(tmp_path / "config.json") and "DS_ACCELERATOR" not in env
    argv, env = sft_command(Launch(processes=1, cpu=True, threads=2), tmp_path / "config.json", "some.module")
    assert env["DS_ACCELERATOR"] == "cpu" and env["OMP_NUM_THREADS"] == "2"


def test_command_of_several_machines(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("node1 slots=8\n# spare\nnode2 slots=8  # new\n")
    launch = Launch(hostfile=str(hosts))
    assert world_size(launch) == 16
    argv, _ = sft_command(launch, tmp_path / "config.json", "some.module")
    assert "deepspeed.launcher.runner" in argv and f"--hostfile={hosts}" in argv
    hosts.write_text("node1 8\n")
    with pytest.raises(TrainingError, match="`node1 8`; write `<host> slots="):
        world_size(launch)


def test_deepspeed_config_follows_the_launch():
    full = deepspeed_config(Launch(zero_stage=3, offload_optimizer=True), Hyperparameters())
    assert full["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] and full["optimizer"]["type"] == "AdamW"
    plain = deepspeed_config(Launch(zero_stage=0), Hyperparameters())
    assert "optimizer" not in plain and plain["zero_optimization"] == {"stage": 1} and plain["bf16"]["enabled"]
    assert deepspeed_config(Launch(zero_stage=0), Hyperparameters(dtype="float32"))["zero_optimization"] == {"stage": 0}


def test_leftover_is_ended_but_not_a_process_that_got_its_number(tmp_path):
    work = Work(tmp_path)
    work.processes.mkdir()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    host = os.uname().nodename
    try:
        holder = Holder.of(sleeper.pid)
        before = holder._replace(started=holder.started - 1)
        write_json(work.processes / "rank0.json", [{"holder": str(before), "host": host}])
        assert end_leftovers(work) == 0 and sleeper.poll() is None
        write_json(work.processes / "rank0.json", [{"holder": str(holder), "host": host}])
        assert end_leftovers(work) == 1
        assert sleeper.wait(10) == -9
    finally:
        sleeper.kill()


def test_failure_names_the_first_error_or_the_last_line_and_the_log(tmp_path, samples, base):
    work = prepared(tmp_path, samples, base)
    with pytest.raises(TrainingError, match="it wrote no log; no checkpoint was reached"):
        read_outcome(work.folder)
    (work.logs / "1_rank0.log").write_text("loading\nKilled\n\n")
    with pytest.raises(TrainingError, match=r"last line: Killed; .*log: .*1_rank0\.log"):
        read_outcome(work.folder)
    for rank, error in ((0, "gloo lost its peer"), (1, "out of memory")):
        write_json(work.failure(rank), {"rank": rank, "time": time.time() - rank, "error": error})
    with pytest.raises(TrainingError, match="process 1 said: out of memory"):
        read_outcome(work.folder)


def test_fewer_visible_devices_than_processes_start_nothing(tmp_path, monkeypatch):
    for visible, seen in (("0,1", "shows 2 of them (0, 1)"), ("", "shows 0 of them (none)"), ("0,-1,1,2", "shows 1 of them (0)")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(
            TrainingError, match=re.escape(f"8 training processes need a GPU each, but CUDA_VISIBLE_DEVICES {seen}")
        ):
            sft_command(Launch(processes=8), tmp_path / "config.json", "some.module")
        assert sft_command(Launch(processes=8, cpu=True), tmp_path / "config.json", "some.module")


OUTCOME = TrainingOutcome(
    planned_steps=4,
    steps=4,
    planned_samples=32,
    samples=32,
    distinct_samples=32,
    epochs=1.0,
    planned_tokens=900,
    tokens=900,
    trained_tokens=300,
    seconds=1.0,
    first_loss=2.0,
    last_loss=1.0,
    min_loss=1.0,
    dropped={},
    processes=1,
    resumed_after_step=0,
    steps_not_finite=0,
    tensors=21,
    unchanged=[],
    held_out_samples=2,
    held_out_before=2.0,
    held_out_after=1.5,
)


@pytest.mark.parametrize(
    ("changed", "measure", "sentence"),
    [
        ({"steps": 0}, "steps_missing", "0 of 4 planned steps changed weights"),
        ({"samples": 16}, "samples_missing", "16 of 32 planned samples were trained"),
        ({"tokens": 899}, "tokens_missing", "899 of 900 planned tokens went through the model"),
        ({"steps_not_finite": 2}, "steps_not_finite", "2 steps had a loss or gradient that is not finite"),
        ({"unchanged": ["a", "b"]}, "tensors_unchanged", "2 of 21 trainable tensors did not change (a, b)"),
        ({"tensors": 0}, "tensors_unchanged", "0 of 0 trainable tensors"),
        ({"held_out_after": float("nan")}, "held_out_not_finite", "the loss on held-out users is nan"),
    ],
)
def test_what_a_training_did_beside_its_plan_is_measured_and_said(changed, measure, sentence):
    assert not any(OUTCOME.deviations().values()) and OUTCOME.find_deviations() == []
    outcome = dataclasses.replace(OUTCOME, **changed)
    assert [name for name, n in outcome.deviations().items() if n] == [measure]
    assert sentence in outcome.find_deviations()[0]


def test_all_deviations_are_said_at_once():
    assert len(dataclasses.replace(OUTCOME, steps=0, samples=16, unchanged=["a"]).find_deviations()) == 3
