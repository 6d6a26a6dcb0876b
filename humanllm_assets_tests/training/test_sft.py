"""Real training of a tiny model by DeepSpeed on CPU: what it trains, that it survives a kill, that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from humanllm_assets.training.assets import RANK_MODULE
from resources.profile import Hyperparameters, Launch, Recipe
from resources.training import TrainingError, Work, prepare_work, read_log, read_outcome, run_sft, sft_command, training_failure

pytestmark = pytest.mark.real_engine
STEPS, BATCH, SAMPLES = 12, 8, 40
KILLS = int(os.environ.get("HUMANLLM_KILLS", "2"))
# Processes and ZeRO stage: all of them where more kills are asked for, which takes minutes each.
KILLED = [(1, 1), (2, 3)] if "HUMANLLM_KILLS" not in os.environ else [(p, stage) for p in (1, 2) for stage in (1, 2, 3)]
CPU = Launch(cpu=True, threads=1, micro_batch=2, zero_stage=2, save_steps=3)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """40 short samples, one that is too long and one without an answer."""

    def row(i: int, answer: str) -> dict[str, str]:
        turns = [{"from": "human", "value": f"What about train {i}?"}, {"from": "gpt", "value": answer}]
        return {"sample_id": f"s{i:02}", "conversations": json.dumps(turns)}

    rows = [row(i, f"Train {i} was late again. " * (1 + i % 4)) for i in range(SAMPLES)]
    path = tmp_path_factory.mktemp("samples") / "samples.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, row(97, " "), row(98, "late " * 400)]), path)
    pq.write_table(pa.Table.from_pylist([row(i, f"Train {i} was late again. ") for i in range(90, 95)]), held_out(path))
    return path


def held_out(samples: Path) -> Path:
    return samples.with_name("held_out.parquet")


def prepared(folder: Path, samples: Path, models: Path, launch: Launch = CPU, **changed: Any) -> Work:
    hyper: dict[str, Any] = {"batch_size": BATCH, "epochs": 2.3, "max_length": 256, "learning_rate": 1e-3, "warmup_ratio": 0.25}
    recipe = Recipe(base_model="tiny", hyperparameters=Hyperparameters(**(hyper | changed)))
    return prepare_work(
        folder,
        samples=samples,
        base_model=models / "base",
        recipe=recipe,
        launch=launch,
        module=RANK_MODULE,
        held_out=held_out(samples),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, samples, models) -> Work:
    work = prepared(tmp_path_factory.mktemp("undisturbed"), samples, models)
    run_sft(work)
    return work


def losses(work: Work) -> list[float]:
    return [row["loss"] for row in read_log(work.metrics)]


def trained_per_step(work: Work) -> dict[int, list[str]]:
    steps: dict[int, list[str]] = {}
    for row in pq.read_table(work.consumed).to_pylist():
        steps.setdefault(row["step"], []).append(row["sample_id"])
    return steps


def processes_of(work: Work) -> list[str]:
    """Command lines of running processes that name the work folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(work.folder) in line:
            found.append(line)
    return found


def test_outcome_accounts_for_every_sample(undisturbed):
    outcome = read_outcome(undisturbed.folder)
    assert (outcome.steps, outcome.samples, outcome.distinct_samples) == (STEPS, round(2.3 * SAMPLES), SAMPLES)
    assert outcome.dropped == {"too_long": 1, "empty_text": 1, "held_out": 5} and outcome.resumed_after_step == 0
    assert {r["sample_id"]: r["reason"] for r in pq.read_table(undisturbed.dropped).to_pylist()}["s98"] == "too_long"
    assert outcome.find_deviations() == [] and set(outcome.deviations().values()) == {0}
    assert outcome.tensors == len(tensor_names(undisturbed.model)) and outcome.held_out_samples == 5
    assert outcome.held_out_before and outcome.held_out_after and outcome.held_out_after < outcome.held_out_before
    assert outcome.last_loss < outcome.first_loss and 0 < outcome.trained_tokens < outcome.tokens
    rows = pq.read_table(undisturbed.consumed).to_pylist()
    assert [r["position"] for r in rows] == list(range(outcome.samples))
    assert [(r["step"], r["epoch"]) for r in rows] == [(p // BATCH + 1, p // SAMPLES) for p in range(outcome.samples)]
    assert set(Counter(r["sample_id"] for r in rows if r["epoch"] < 2).values()) == {2}


def tensor_names(model: Path) -> set[str]:
    with safe_open(model / "model.safetensors", framework="np") as f:
        return set(f.keys())


def test_model_folder_holds_safetensors_and_text_alone(undisturbed, models):
    assert tensor_names(undisturbed.model) == tensor_names(models / "base")
    names = {p.name for p in undisturbed.model.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt", ".pkl"))]
    assert json.loads((undisturbed.model / "config.json").read_text())["dtype"] == "bfloat16"


def test_metrics_have_a_row_per_step_and_warm_up(undisturbed):
    rows = read_log(undisturbed.metrics)
    assert [r["step"] for r in rows] == list(range(1, STEPS + 1))
    assert rows[0]["learning_rate"] == 0 and rows[3]["learning_rate"] == pytest.approx(1e-3)
    assert rows[-1]["learning_rate"] < 1e-4 and all(r["grad_norm"] > 0 for r in rows)


def test_a_finished_training_is_not_run_again(undisturbed):
    before = undisturbed.outcome.stat().st_mtime_ns
    run_sft(undisturbed)
    assert undisturbed.outcome.stat().st_mtime_ns == before


@pytest.mark.parametrize("killed", ["launcher", "caller"])
def test_killed_training_resumes_to_the_same_weights(tmp_path, samples, models, undisturbed, killed):
    work = prepared(tmp_path / "work", samples, models)
    argv, env = sft_command(CPU, work.config, RANK_MODULE)
    if killed == "caller":  # a step process in between, which is the one that asks for the training
        argv = ["/bin/sh", "-c", 'export HUMANLLM_LAUNCHED_BY=$$; "$@" & echo; wait', "sh", *argv]
    launcher = subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (work.newest_checkpoint() and len(losses(work)) >= 4):
        assert time.monotonic() < deadline and launcher.poll() is None, "the training did not reach its first checkpoint"
        time.sleep(0.01)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    deadline = time.monotonic() + 10
    while left := processes_of(work):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not work.outcome.exists(), "the training ended before it could be killed"

    outcome = run_sft(prepared(tmp_path / "work", samples, models))
    assert outcome.resumed_after_step >= 3
    assert outcome.find_deviations() == [] and outcome.held_out_before == read_outcome(undisturbed.folder).held_out_before
    assert losses(work) == losses(undisturbed)
    assert pq.read_table(work.consumed).equals(pq.read_table(undisturbed.consumed))
    assert {p.name: p.read_bytes() for p in work.model.iterdir()} == {p.name: p.read_bytes() for p in undisturbed.model.iterdir()}


def test_two_processes_train_the_same_samples_per_step(tmp_path, samples, models, undisturbed):
    launch = CPU.model_copy(update={"processes": 2, "micro_batch": 1, "zero_stage": 3})
    work = prepared(tmp_path, samples, models, launch)
    outcome = run_sft(work)
    assert trained_per_step(work) == trained_per_step(undisturbed)
    assert set(pq.read_table(work.consumed)["rank"].to_pylist()) == {0, 1} and outcome.processes == 2
    assert losses(work) == pytest.approx(losses(undisturbed), abs=0.01)
    alone = read_outcome(undisturbed.folder)
    assert (outcome.held_out_before, outcome.held_out_after) == pytest.approx(
        (alone.held_out_before, alone.held_out_after), abs=0.01
    )
    assert outcome.find_deviations() == []


def test_an_error_reaches_the_caller_in_one_sentence(tmp_path, samples, models):
    work = prepared(tmp_path, samples, models, max_length=3)
    with pytest.raises(TrainingError, match=r"process 0 said: no sample is left to train on .* log: "):
        run_sft(work)
    assert not processes_of(work)


def test_another_number_of_processes_than_the_profile_says_is_refused_before_the_first_step(tmp_path, samples, models):
    work = prepared(tmp_path, samples, models, CPU.model_copy(update={"processes": 2}))
    argv, env = sft_command(CPU, work.config, RANK_MODULE)
    assert subprocess.run(argv, env={**os.environ, **env}, capture_output=True, check=False).returncode
    assert "1 training processes were started, but the profile's `launch` says 2" in str(training_failure(work.folder))
    assert not read_log(work.metrics)


def test_a_training_that_changes_nothing_is_no_checkpoint(tmp_path, samples, models):
    outcome = run_sft(prepared(tmp_path, samples, models, learning_rate=1e-30, max_steps=2, warmup_ratio=0))
    assert outcome.deviations()["tensors_unchanged"] == outcome.tensors > 0
    (sentence,) = outcome.find_deviations()
    assert (
        f"{outcome.tensors} of {outcome.tensors} trainable tensors did not change (lm_head" in sentence or "(model." in sentence
    )


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("processes", "zero_stage"), KILLED)
def test_kills_at_random_moments_change_neither_weights_nor_order(tmp_path, samples, models, processes, zero_stage):
    launch = CPU.model_copy(update={"processes": processes, "micro_batch": 2, "zero_stage": zero_stage, "save_steps": 1})
    whole, begun = prepared(tmp_path / "whole", samples, models, launch), time.monotonic()
    run_sft(whole)
    lasts, moments = time.monotonic() - begun, random.Random(f"{processes} {zero_stage}")

    def check_finished() -> None:
        outcome = run_sft(prepared(tmp_path / "killed", samples, models, launch))
        assert outcome.find_deviations() == []
        assert pq.read_table(work.consumed).equals(pq.read_table(whole.consumed))
        assert {p.name: p.read_bytes() for p in work.model.iterdir()} == {p.name: p.read_bytes() for p in whole.model.iterdir()}

    for _ in range(KILLS):
        work = prepared(tmp_path / "killed", samples, models, launch)
        argv, env = sft_command(launch, work.config, RANK_MODULE)
        launcher = subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, lasts))
        launcher.kill()
        launcher.wait()
        if work.outcome.exists():
            check_finished()
            shutil.rmtree(work.folder)  # and from the beginning
    check_finished()
