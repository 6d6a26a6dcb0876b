"""Laws of the log of what was trained, and of the merge's weights, without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from humanllm_assets.training.merge import merge_config
from humanllm_assets.training.order import places_of, stream
from resources.training import Work

IDS = [f"s{i}" for i in range(11)]
BATCH, MICRO, PROCESSES, EPOCHS = 8, 2, 2, 2
PLACES = stream(IDS, seed=1, epochs=EPOCHS, batch_size=BATCH)
SAMPLES: Any = SimpleNamespace(ids=IDS, places=PLACES, filled=EPOCHS * len(IDS))  # 22 places in 3 steps, the last two empty


@pytest.fixture
def sft(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the training processes, in which a step of training does nothing."""
    from humanllm_assets.training import sft

    monkeypatch.setattr(sft.Trainer, "training_step", lambda *_: "loss")
    return sft


def train(sft: Any, work: Work) -> None:
    """What the processes log of a whole run."""
    import torch

    micros = BATCH // (MICRO * PROCESSES)
    for rank in range(PROCESSES):
        trainer = sft.RecordingTrainer.__new__(sft.RecordingTrainer)
        trainer._samples, trainer._micro = SAMPLES, 0
        trainer._consumed = work.consumed_log(rank).open("a", encoding="utf-8")
        trainer.args = SimpleNamespace(gradient_accumulation_steps=micros, process_index=rank)
        for step in range(1, len(PLACES) // BATCH + 1):
            trainer.state = SimpleNamespace(global_step=step - 1)
            for micro in range(micros):
                places = places_of(step, micro, rank, batch_size=BATCH, micro_batch=MICRO, processes=PROCESSES)
                tokens = torch.tensor([100 + place for place in places])
                assert trainer.training_step(None, {"places": torch.tensor(list(places)), "tokens": tokens}) == "loss"
        trainer._consumed.close()


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def test_every_sample_of_every_micro_batch_is_logged_once_and_merged_in_the_order_of_the_stream(sft: Any, work: Work) -> None:
    train(sft, work)
    trained = sft._merge_consumed(work, SAMPLES, PROCESSES)
    assert trained == (22, sum(100 + place for place in range(22))), "the two places beyond the last sample are not trained"
    rows = pq.read_table(work.consumed).to_pylist()
    assert [r["position"] for r in rows] == list(range(22))
    assert [r["sample_id"] for r in rows] == [IDS[row] for row in PLACES[:22]]
    assert [r["step"] for r in rows] == [p // BATCH + 1 for p in range(22)]
    assert [r["epoch"] for r in rows] == [p // len(IDS) for p in range(22)]
    assert [r["rank"] for r in rows] == [p // MICRO % PROCESSES for p in range(22)]


def test_a_log_names_step_and_micro_batch(sft: Any, work: Work) -> None:
    train(sft, work)
    log = [json.loads(line) for line in work.consumed_log(1).read_text().splitlines()]
    assert [(r["step"], r["micro"], r["places"]) for r in log[:3]] == [(1, 0, [2, 3]), (1, 1, [6, 7]), (2, 0, [10, 11])]
    assert log[-1]["places"] == log[-1]["sample_ids"] == []  # the places beyond the last sample


@pytest.mark.parametrize("damage", ["last", "first", "twice"])
def test_a_log_that_lacks_or_repeats_a_micro_batch_is_refused(damage: str, sft: Any, work: Work) -> None:
    train(sft, work)
    log = work.consumed_log(0)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join({"last": lines[:-1], "first": lines[1:], "twice": [*lines, lines[-1]]}[damage]))
    with pytest.raises(RuntimeError, match="the training log is not whole"):
        sft._merge_consumed(work, SAMPLES, PROCESSES)


def test_the_merge_gives_the_weight_to_the_tuned_model_and_the_rest_to_its_base(tmp_path: Path) -> None:
    config = merge_config(tmp_path / "base", tmp_path / "tuned", 0.25)
    assert [(Path(m["model"]).name, m["parameters"]["weight"]) for m in config["models"]] == [("base", 0.75), ("tuned", 0.25)]
    assert config["merge_method"] == "linear" and config["parameters"] == {"normalize": True}
    assert (config["dtype"], config["out_dtype"]) == ("float32", "bfloat16")


@pytest.mark.parametrize("weight", [0.25, 0.5])
def test_the_proof_of_a_merge_weighs_the_same_way(tmp_path: Path, weight: float) -> None:
    import torch
    from safetensors.torch import save_file

    from humanllm_assets.training.merge import _check_tensors

    base, tuned = torch.tensor([0.0, 8.0]), torch.tensor([4.0, 16.0])
    for name, tensor in (("base", base), ("tuned", tuned), ("merged", base * 0.75 + tuned * 0.25)):
        (tmp_path / name).mkdir()
        save_file({"w": tensor.to(torch.bfloat16)}, str(tmp_path / name / "model.safetensors"))
        (tmp_path / name / "config.json").write_text("{}")
    (check,) = _check_tensors(*(tmp_path / name for name in ("base", "tuned", "merged")), weight)
    assert (check.tensor, check.elements, check.max_abs_error) == ("w", 2, 0.0 if weight == 0.25 else 2.0)
