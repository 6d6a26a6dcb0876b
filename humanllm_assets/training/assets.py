"""sft_checkpoint and merged_model: full fine-tuning by DeepSpeed in its own processes, then a linear merge by mergekit (M1-M3)."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.nodes import Dep, Node, every, same
from humanllm_assets.pages.model_card import describe_model
from humanllm_assets.partitions import Partitions, parse_pair
from humanllm_assets.tables import CONSUMED, DROPPED_TRAINING, MERGE_CHECK, TRAINING_METRICS
from humanllm_assets.training.data import TrainingData, TrainingDataError, raw_samples, training_samples
from humanllm_assets.training.merge import merge, verify_merge
from humanllm_assets.training.order import count_places
from resources.devices import find_serving_faults
from resources.errors import Explained
from resources.models import model_folder, weights_digest
from resources.training import (
    TrainingError,
    Work,
    prepare_work,
    read_outcome,
    run_preparation,
    run_sft,
    sft_command,
    training_failure,
)
from resources.training_checks import (
    count_weights,
    find_disk_faults,
    find_encoding_faults,
    find_launch_faults,
    find_model_faults,
    measure_unusable,
)

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Hyperparameters, Model, Profile


RANK_MODULE = "humanllm_assets.training.rank"  # what every training process runs
PREPARE_MODULE = "humanllm_assets.training.prepare"  # what runs before them


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage."""
    parts = Partitions(profile)
    recipes = parts.recipes
    raw = {r: profile.recipes[r].sources for r in recipes if profile.recipes[r].objective == "raw_continuation"}
    deps = [Dep("task_datasets", {r: parts.pairs_of_recipe(profile.recipes[r]) for r in recipes})]
    for source in parts.sources:
        deps.append(Dep(f"filtered_{source}", {r: parts.slices(source) for r, sources in raw.items() if source in sources}))
    deps.append(Dep("contamination", every(recipes, ("",)), asks=False, guard=True))
    return [
        Node(
            name="sft_checkpoint",
            group="training",
            description="Base model fully fine-tuned on the recipe's task data sets, loss on response tokens only (M1, M2); with the samples "
            "that training consumed, in order. A killed run resumes from its newest checkpoint.",
            kinds=frozenset({"deepspeed", "pytorch"}),
            tables={"consumed": CONSUMED, "metrics": TRAINING_METRICS, "dropped": DROPPED_TRAINING},
            partitions=recipes,
            deps=tuple(replace(d, parents={k: v for k, v in d.parents.items() if v}) for d in deps if any(d.parents.values())),
            identity=lambda recipe: _recipe_identity(profile, recipe),
            external=lambda recipe: model_weights(profile.models[profile.recipes[recipe].base_model], home),
            compute=_sft_checkpoint,
            code=("humanllm_assets.training.sft", PREPARE_MODULE),  # run in processes of their own
            contract=Contract.load("sft_checkpoint", profile.thresholds),
            gated=True,
            keeps_forever=True,
            # training on CPU beside a model server makes both several times slower: their threads wait for each other
            alone=any(launch.cpu for launch in profile.launch.values()),
        ),
        Node(
            name="merged_model",
            group="training",
            description="Weight average of the fine-tuned and the base model (M3: 1:1), written by mergekit and proved tensor by tensor.",
            kinds=frozenset({"pytorch"}),
            tables={"check": MERGE_CHECK},
            partitions=recipes,
            deps=(Dep("sft_checkpoint", same(recipes)),),
            identity=lambda recipe: {
                "weight": profile.recipes[recipe].merge_weight,
                "base_model": profile.models[profile.recipes[recipe].base_model].identity,
            },
            external=lambda recipe: model_weights(profile.models[profile.recipes[recipe].base_model], home),
            compute=_merged_model,
            contract=Contract.load("merged_model", profile.thresholds),
            keeps_forever=True,
        ),
    ]


def _recipe_identity(profile: Profile, name: str) -> dict[str, Any]:
    recipe = profile.recipes[name]
    drawn = {
        "samples": recipe.samples,
        "task_weights": recipe.task_weights,
        "source_weights": recipe.source_weights,
        "max_tokens": recipe.max_tokens,
    }
    return {
        "base_model": profile.models[recipe.base_model].identity,
        "objective": recipe.objective,
        "mix": [m.model_dump(exclude={"path"}) for m in recipe.mix],
        "hyperparameters": recipe.hyperparameters,
        "template_date": recipe.template_date.isoformat(),
        "held_out": recipe.held_out,
        "test_fraction": profile.thresholds.tasks.test_fraction,
        **{setting: value for setting, value in drawn.items() if value},
    }


def model_weights(model: Model, home: Home) -> dict[str, Any]:
    """Content hash of a model's folder. A model carried by a package is fixed by its revision; one that is not there yet is null."""
    if not model.path:
        return {"weights": None}
    try:
        return {"weights": weights_digest(model_folder(model, home.root), home.root)}
    except Explained:
        return {"weights": None}  # planning goes on; the step itself stops with the model's message


def _sft_checkpoint(step: Step) -> None:
    recipe = step.profile.recipes[step.partition]
    work, data = _prepare(step)
    if not work.finished():
        step.log(f"training {step.partition} on {data.rows:,} samples; log: {work.logs}")
        _train(step, work)
    outcome = read_outcome(work.folder)
    step.log(
        f"loss {outcome.first_loss:.3f} -> {outcome.last_loss:.3f} in {outcome.steps} steps, {outcome.tokens_per_second:.0f} tokens/s"
    )
    if outcome.held_out_after is not None:
        step.log(
            f"loss on {outcome.held_out_samples} held-out samples {outcome.held_out_before:.3f} -> {outcome.held_out_after:.3f}"
        )
    if deviations := outcome.find_deviations():
        work.outcome.unlink()  # so that the next materialization trains again, from the beginning
        shutil.rmtree(work.checkpoints, ignore_errors=True)
        raise TrainingError(f"{step.partition} was not trained as its recipe says: {_numbered(deviations)}; log: {work.logs}")
    for path in work.model.iterdir():
        shutil.copy2(path, step.writer.folder / path.name)
    step.copy("consumed", f"select * from read_parquet('{work.consumed}')")
    step.copy("metrics", f"select step, loss, learning_rate from read_json('{work.metrics}', format = 'newline_delimited')")
    step.copy("dropped", f"select * from read_parquet('{work.dropped}')")
    for line in (*data.describe_draw(), *data.describe_mix()):
        step.log(line)
    dropped = outcome.dropped
    entered = data.rows + data.held_out_rows
    before = data.left_out()
    step.count(entered=entered + before.total(), kept=entered - sum(dropped.values()), dropped=dict(Counter(dropped) + before))
    step.measures |= outcome.deviations() | {
        "unusable_rate": measure_unusable(dropped, entered),
        "mix_share_error": data.share_error(work.dropped),
        "final_loss": outcome.last_loss,
        "first_loss": outcome.first_loss,
        "min_loss": outcome.min_loss,
        "consumed_samples": outcome.samples,
        "steps": outcome.steps,
        "tokens": outcome.tokens,
        "training_seconds": outcome.seconds,
        "processes": outcome.processes,
        "resumed_after_step": outcome.resumed_after_step,
    }
    if outcome.held_out_after is not None:
        step.measures["held_out_loss"] = outcome.held_out_after
    _describe(step, {"data": data.counts, "hyperparameters": recipe.hyperparameters.model_dump(), "outcome": outcome.facts()})
    shutil.rmtree(work.checkpoints, ignore_errors=True)  # optimizer states; the run is complete


def _prepare(step: Step) -> tuple[Work, TrainingData]:
    """The work folder of the recipe with its samples encoded, when nothing makes the checkpoint differ from its recipe.

    Raises:
        TrainingError: all that does, in one message.
    """
    recipe = step.profile.recipes[step.partition]
    hyper = recipe.hyperparameters
    model = step.profile.models[recipe.base_model]
    launch, base = step.profile.launch_for(recipe.base_model), model_folder(model, step.runtime.home.root)
    folder = step.runtime.home.training / step.partition
    folder.mkdir(parents=True, exist_ok=True)
    found = find_launch_faults(hyper, launch) + find_model_faults(base)
    found += find_serving_faults(base, [*step.profile.engine.server_args, *model.server_args])
    data = None
    try:
        data = _training_data(step, folder / "samples.parquet")
        found += find_disk_faults(folder, count_weights(base), _planned_steps(data.rows, hyper), hyper, launch)
    except TrainingDataError as e:
        found.append(str(e))
    if found or data is None:
        settings = {
            "base_model": str(base),
            "objective": recipe.objective,
            "template_arguments": model.chat_template_arguments,
            "template_date": recipe.template_date.isoformat(),
        }
        found += (
            run_preparation(PREPARE_MODULE, "try-template", json.dumps(settings)) if (base / "tokenizer.json").is_file() else []
        )
        raise TrainingError(f"{step.partition} can't be trained as its recipe says: {_numbered(found)}")
    work = prepare_work(
        folder / "work",
        samples=data.path,
        base_model=base,
        recipe=recipe,
        launch=launch,
        module=RANK_MODULE,
        template_arguments=model.chat_template_arguments,
        held_out=data.held_out if data.held_out_rows else None,
        identity=step.identity_hash,
    )
    if work.finished():
        return work, data
    if not (found := run_preparation(PREPARE_MODULE, "encode", str(work.config))):
        dropped = work.count_dropped()
        entered = data.rows + data.held_out_rows
        steps = _planned_steps(entered - sum(dropped.values()), hyper)
        found = find_encoding_faults(
            entered, dropped, data.share_error(work.dropped), steps, hyper, step.profile.thresholds.failures
        )
    if found:
        raise TrainingError(f"{step.partition} can't be trained as its recipe says: {_numbered(found)}")
    return work, data


def _planned_steps(samples: int, hyper: Hyperparameters) -> int:
    return count_places(samples, hyper.epochs, hyper.batch_size, hyper.max_steps)[0]


def _numbered(findings: list[str]) -> str:
    return "; ".join(f"({i}) {finding}" for i, finding in enumerate(findings, 1))


def _training_data(step: Step, out: Path) -> TrainingData:
    recipe = step.profile.recipes[step.partition]
    if recipe.objective == "raw_continuation":
        records = {
            asset.removeprefix("filtered_"): [s.path("records") for s in snapshots.values()]
            for asset, snapshots in step.inputs.items()
        }
        return raw_samples(step.con, records, recipe, step.profile.thresholds.tasks.test_fraction, out)
    tables = {}
    for pair, snapshot in step.inputs["task_datasets"].items():
        tables[parse_pair(pair)] = snapshot.path("samples")
    return training_samples(step.con, tables, recipe, out, step.profile.thresholds.failures.max_quarantine_rate)


def _train(step: Step, work: Work) -> None:
    """Train to the end: under Dagster through Pipes, so that loss and rate appear live in the run; else as a plain child."""
    if step.pipes is None:
        run_sft(work)
        return
    import dagster as dg

    launch = step.profile.launch_for(step.profile.recipes[step.partition].base_model)
    argv, env = sft_command(launch, work.config, RANK_MODULE)
    client = dg.PipesSubprocessClient(cwd=str(work.folder), forward_termination=True)
    try:
        client.run(context=step.pipes, command=argv, env=env).get_custom_messages()
    except dg.DagsterPipesExecutionError as e:
        raise training_failure(work.folder) from e


def _describe(step: Step, facts: dict[str, Any]) -> None:
    """Model card and lineage file inside the model folder; neither decides the data version."""
    base = step.profile.models[step.profile.recipes[step.partition].base_model]
    upstream = [s.ref().model_dump() for snapshots in step.inputs.values() for s in snapshots.values()]
    written = describe_model(
        step.writer.folder,
        {"name": step.partition, "base_model": base.name, "notes": step.profile.notes, **facts},
        {
            "asset": step.node.name,
            "partition": step.partition,
            "identity": step.identity_hash,
            "base_model": base.identity,
            "upstream": upstream,
        },
    )
    step.writer.volatile(*written)


def _merged_model(step: Step) -> None:
    recipe = step.profile.recipes[step.partition]
    base = model_folder(step.profile.models[recipe.base_model], step.runtime.home.root)
    tuned = step.inputs["sft_checkpoint"][step.partition].folder
    out = step.workdir / "model"
    step.log(
        f"merging {recipe.merge_weight:g} x fine-tuned + {1 - recipe.merge_weight:g} x {step.profile.models[recipe.base_model].name}"
    )
    merge(base, tuned, recipe.merge_weight, out)
    check = verify_merge(base, tuned, out, recipe.merge_weight)
    for path in out.iterdir():
        shutil.move(path, step.writer.folder / path.name)
    step.write("check", [{"tensor": t.tensor, "elements": t.elements, "max_abs_error": t.max_abs_error} for t in check.tensors])
    step.count(entered=len(check.tensors), kept=len(check.tensors), dropped={})
    step.measures |= {
        "tensors": len(check.tensors),
        "tensors_not_finite": sum(not math.isfinite(t.max_abs_error) for t in check.tensors),
        "elements": check.elements,
        "max_abs_error": max((t.max_abs_error for t in check.tensors if math.isfinite(t.max_abs_error)), default=math.inf),
    }
    _describe(step, {"merge_weight": recipe.merge_weight})
