"""The step sft_checkpoint: nothing is trained, or published, that differs from its recipe, and one message says all of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from humanllm_assets.training import assets
from humanllm_assets_tests.resources.test_training import OUTCOME
from resources.profile import ExternalData, Hyperparameters, Launch, Model, Recipe
from resources.thresholds import Thresholds
from resources.training import TrainingError


@pytest.fixture
def step(tmp_path: Path) -> Any:
    """A step of a recipe whose model is not whole, whose mix is missing, and whose batch can't be divided."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"num_attention_heads": 28, "num_key_value_heads": 4}))
    (base / "tokenizer.json").write_text("{}")
    (base / "model-00001-of-00002.safetensors").write_bytes(b"cut off")
    mix = [ExternalData(name="gone", path=str(tmp_path / "gone.jsonl"), revision="1", share=0.5)]
    con = duckdb.connect()
    turns = json.dumps([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}])
    con.execute(
        "copy (select 's' || i as sample_id, 'social_qa' as task, 'reddit' as source, 'u' || i as user_id, 'train' as split, "
        f"$1 as conversations from range(9) t(i)) to '{tmp_path / 's.parquet'}' (format parquet)",
        [turns],
    )
    profile = SimpleNamespace(
        recipes={"r": Recipe(base_model="m", mix=mix, hyperparameters=Hyperparameters(batch_size=64))},
        models={"m": Model(name="m", revision="1", path=str(base), chat_template_arguments={"thinks": False})},
        launch_for=lambda _: Launch(processes=3),
        engine=SimpleNamespace(server_args=["--tensor-parallel-size", "8"]),
        thresholds=Thresholds(),
    )
    inputs = {"task_datasets": {"social_qa-reddit": SimpleNamespace(path=lambda _: tmp_path / "s.parquet")}}
    runtime = SimpleNamespace(home=SimpleNamespace(root=tmp_path, training=tmp_path / "training"))
    yield SimpleNamespace(
        profile=profile,
        partition="r",
        inputs=inputs,
        con=con,
        runtime=runtime,
        identity_hash="i",
        pipes=None,
        log=lambda _: None,
        measures={},
        writer=SimpleNamespace(folder=tmp_path / "snapshot"),
    )
    con.close()


def test_all_that_is_wrong_before_the_first_step_is_one_message(step, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    asked = []
    monkeypatch.setattr(
        assets, "run_preparation", lambda module, verb, text: asked.append(json.loads(text)) or ["the template fault"]
    )
    with pytest.raises(TrainingError, match="^r can't be trained as its recipe says: ") as refused:
        assets._prepare(step)
    for number, finding in enumerate(
        [
            "a batch of 64 can't be divided into 3 processes",
            "3 training processes need a GPU each, but 2 are visible",
            "model-00001-of-00002.safetensors of the base model",
            "model-00002-of-00002.safetensors of the base model",
            "can't divide its 28 attention heads",
            "`gone` of the recipe's mix is missing",
            "the template fault",
        ],
        1,
    ):
        assert f"({number}) {finding}" in str(refused.value) or f"({number}) a server of base {finding}" in str(refused.value)
    assert asked[0]["template_arguments"] == {"thinks": False} and asked[0]["template_date"] == "2024-07-26"
    assert not (step.runtime.home.training / "r" / "work").exists()


def test_a_training_beside_its_plan_writes_no_snapshot_and_is_not_taken_up_again(step, monkeypatch, tmp_path):
    outcome, checkpoints = tmp_path / "outcome.json", tmp_path / "checkpoints"
    outcome.touch()
    checkpoints.mkdir()
    work = SimpleNamespace(
        finished=lambda: True, folder=tmp_path, outcome=outcome, checkpoints=checkpoints, logs=tmp_path / "logs"
    )
    monkeypatch.setattr(assets, "_prepare", lambda _: (work, None))
    monkeypatch.setattr(assets, "read_outcome", lambda _: dataclasses.replace(OUTCOME, steps=0, unchanged=["a"]))
    with pytest.raises(
        TrainingError, match=r"^r was not trained as its recipe says: \(1\) 0 of 4 planned steps .*; \(2\) 1 of 21 "
    ):
        assets._sft_checkpoint(step)
    assert not outcome.exists() and not checkpoints.exists() and not step.writer.folder.exists()


def write_mix(folder: Path) -> list[ExternalData]:
    """Two general data sets as they are published: SmolTalk's messages and Orca's questions, a line of each with a fault."""
    messages = [[{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": f"It is {i}."}] for i in range(19)]
    talk = [json.dumps({"messages": turns}) for turns in [*messages, messages[0][:1]]]
    orca = [json.dumps({"system_prompt": "Be brief.", "question": f"Is {i} even?", "response": "No."}) for i in range(19)]
    (folder / "smoltalk.jsonl").write_text("\n".join(talk))
    (folder / "orca.jsonl").write_text("\n".join([*orca, "{"]))
    return [
        ExternalData(name=name, path=str(folder / f"{name}.jsonl"), revision="1", share=0.25) for name in ("smoltalk", "orca")
    ]


ABLATIONS = {  # the recipes of the paper's section 4.3, beside the main one
    "main": {"held_out": 0.2},
    "raw": {"held_out": 0.2, "objective": "raw_continuation", "samples": 12, "max_tokens": 80},
    "gen": {"held_out": 0.2, "mix": True},
    "t1": {"held_out": 0.2, "tasks": ["profile_generation", "scenario_generation", "social_qa"]},
    "t2": {"held_out": 0.2, "tasks": ["writing_imitation", "personalized_commenting", "item_selection"]},
}


@pytest.mark.real_engine
@pytest.mark.parametrize("name", ["main", "raw", *(pytest.param(name, marks=pytest.mark.long) for name in ("gen", "t1", "t2"))])
def test_a_recipe_trains_to_a_checkpoint_that_its_contract_accepts(step, monkeypatch, models, tmp_path, name):
    """The step itself, on a tiny model: samples encoded in a process of their own, trained by DeepSpeed, measured, checked."""
    from humanllm_assets.contracts.gx_runner import run_contract
    from humanllm_assets.contracts.suite import Contract

    hyper = Hyperparameters(batch_size=4, max_length=256, epochs=1, warmup_ratio=0, learning_rate=1e-3, max_steps=2)
    settings = dict(ABLATIONS[name])
    if settings.get("mix"):
        settings["mix"] = write_mix(tmp_path)
    recipe = Recipe(base_model="m", hyperparameters=hyper, **settings)
    step.profile.recipes = {"r": recipe}
    step.profile.models = {"m": Model(name="m", revision="1", path=str(models / "base"))}
    step.profile.launch_for = lambda _: Launch(cpu=True, threads=1, micro_batch=2)
    step.profile.engine.server_args = []
    if name == "raw":
        records = "select 'r' || i as record_id, 'reddit' as source, 'u' || i as user_id, 'It was late again and again.' as text"
        step.con.execute(f"copy ({records} from range(30) t(i)) to '{tmp_path / 'r.parquet'}' (format parquet)")
        step.inputs = {"filtered_reddit": {"slice": SimpleNamespace(path=lambda _: tmp_path / "r.parquet")}}
    else:
        pairs = [
            (task, SimpleNamespace(path=lambda _, task=task: tmp_path / f"{task}.parquet"))
            for task in ("social_qa", "writing_imitation")
        ]
        for task, _ in pairs:
            step.con.execute(
                f"copy (select * replace ('{task}-' || sample_id as sample_id, '{task}' as task) from '{tmp_path / 's.parquet'}') "
                f"to '{tmp_path / f'{task}.parquet'}' (format parquet)"
            )
        step.inputs = {"task_datasets": {f"{task}-reddit": snapshot for task, snapshot in pairs}}
    said, counts, tables = [], {}, {}
    step.log = said.append
    step.count = lambda **counted: counts.update(counted)
    step.copy = lambda name, query: tables.update({name: step.con.execute(query).fetchall()})
    step.writer.folder.mkdir()
    monkeypatch.setattr(assets, "_describe", lambda *_: None)

    assets._sft_checkpoint(step)

    contract = Contract.load("sft_checkpoint", Thresholds())
    assert run_contract(contract, {}, {name: step.measures[name] for name in contract.measures}).passed
    dropped = counts["dropped"]
    assert dropped["held_out"] and counts["entered"] == counts["kept"] + sum(dropped.values())
    assert any(line.startswith(f"loss on {dropped['held_out']} held-out samples ") for line in said), said
    assert step.measures["held_out_loss"] > 0 and len(tables["consumed"]) == step.measures["consumed_samples"]
    assert (step.writer.folder / "model.safetensors").is_file()
    trained = step.con.execute(f"select distinct task from '{tmp_path / 'training' / 'r' / 'samples.parquet'}'").fetchall()
    tasks = {
        "main": {"social_qa", "writing_imitation"},
        "raw": {"raw_continuation"},
        "t1": {"social_qa"},
        "t2": {"writing_imitation"},
    }
    assert {task for (task,) in trained} == tasks.get(name, {"social_qa", "writing_imitation", "external"})
    if name == "raw":  # as many records as asked for, and of their tokens no more than that
        assert dropped["over_max_tokens"] == 12 - counts["kept"] > 0 and "not_drawn" in dropped
        assert step.measures["tokens"] <= 80
    if name == "gen":
        assert dropped["ends_without_answer"] == dropped["not_json"] == 1 and step.measures["mix_share_error"] <= 0.01
