"""The training itself (requirements M2, A1): full fine-tuning with transformers' Trainer under DeepSpeed, ZeRO 0 to 3.

This module loads torch, transformers and deepspeed: it runs in training processes of its own and nothing but `rank.py` imports
it. Every process calls `train`; process 0 of all also encodes the samples where `prepare.py` has not, writes metrics and the final
files, and reports to Dagster when Dagster started it.

What belongs here: what needs a tensor. Order, masks, command line and work folder are in the light modules beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import deepspeed
import duckdb
import pyarrow as pa
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments, set_seed

from humanllm_assets.training.deepspeed_config import deepspeed_config
from humanllm_assets.training.order import EMPTY, count_places, stream
from humanllm_assets.training.prepare import encode_samples, load_tokenizer
from resources.model_files import normalise_model_folder
from resources.profile import Hyperparameters, Launch
from resources.training import COMPLETE, TrainingError, Work, cut_log, write_json

_REPORT_EVERY_S = 2.0  # live lines to Dagster; every step is in metrics.jsonl anyway
_COLLECTIVE_TIMEOUT = timedelta(hours=12)  # the other processes wait while the first encodes
_DIGEST_WEIGHTS = 2**24  # looked at at once; bounds memory
_IGNORED = -100  # label of a token without loss
Report = Callable[[str, dict[str, Any]], None]


# ---- samples ---------------------------------------------------------------------------------------------------------


class Samples(torch.utils.data.Dataset):
    """The stream of the run as a data set: item `p` is the sample at place `p`; an empty place is two tokens without loss."""

    def __init__(self, encoded: Path, hyper: Hyperparameters) -> None:
        table = read_encoded(encoded)
        self.ids: list[str] = table["sample_id"].to_pylist()
        if not self.ids:
            raise TrainingError(
                "no sample is left to train on after over-long ones were dropped; raise max_length or add samples"
            )
        self.tokens = array("q", table["n_tokens"].to_pylist())
        self.trained = array("q", table["n_trained"].to_pylist())
        self._input_ids, self._ranges = table["input_ids"], table["trained"]
        self.places = stream(self.ids, hyper.seed, hyper.epochs, hyper.batch_size, hyper.max_steps)
        self.steps, self.filled = count_places(len(self.ids), hyper.epochs, hyper.batch_size, hyper.max_steps)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.places[place]
        if row == EMPTY:
            return {"place": place, "input_ids": [0, 0], "labels": [_IGNORED, _IGNORED]}
        return {"place": place, **label_tokens(self._input_ids[row].as_py(), self._ranges[row].as_py())}


def read_encoded(path: Path) -> pa.Table:
    """A file that `encode_samples` wrote, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def label_tokens(input_ids: list[int], edges: list[int]) -> dict[str, list[int]]:
    """Token ids and their labels: the trained ranges, given as start, end, start, end, carry loss."""
    labels = [_IGNORED] * len(input_ids)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        labels[start:end] = input_ids[start:end]
    return {"input_ids": input_ids, "labels": labels}


def collate(rows: list[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """One micro batch, padded on the right to its longest sample."""
    longest = max(len(r["input_ids"]) for r in rows)

    def padded(values: list[int], filler: int) -> list[int]:
        return values + [filler] * (longest - len(values))

    return {
        "places": torch.tensor([r["place"] for r in rows]),
        "tokens": torch.tensor([len(r["input_ids"]) for r in rows]),
        "input_ids": torch.tensor([padded(r["input_ids"], pad) for r in rows]),
        "labels": torch.tensor([padded(r["labels"], _IGNORED) for r in rows]),
        "attention_mask": torch.tensor([padded([1] * len(r["input_ids"]), 0) for r in rows]),
    }


# ---- trainer ---------------------------------------------------------------------------------------------------------


class RecordingTrainer(Trainer):
    """A Trainer that writes down every sample when it has gone through the forward and backward pass."""

    def __init__(self, *, samples: Samples, log: Path, **arguments: Any) -> None:
        super().__init__(train_dataset=samples, **arguments)
        self._samples = samples
        self._consumed = log.open("a", encoding="utf-8")
        self._micro = 0

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One forward and backward pass, then a row in the log of this process: step, micro step, rank, places, sample ids, tokens."""
        places, tokens = inputs.pop("places").tolist(), inputs.pop("tokens").tolist()
        loss = super().training_step(model, inputs, num_items_in_batch)
        trained = [p for p in places if self._samples.places[p] != EMPTY]
        row = {
            "step": self.state.global_step + 1,
            "micro": self._micro % self.args.gradient_accumulation_steps,
            "rank": self.args.process_index,
            "places": trained,
            "sample_ids": [self._samples.ids[self._samples.places[p]] for p in trained],
            "tokens": sum(n for p, n in zip(places, tokens, strict=True) if self._samples.places[p] != EMPTY),
        }
        self._consumed.write(json.dumps(row) + "\n")
        self._consumed.flush()
        self._micro += 1
        return loss

    def sync_log(self) -> None:
        """Make sure that the log is on the disk."""
        os.fsync(self._consumed.fileno())

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """As the base class, with tied weights once: DeepSpeed's state dict holds copies that the base model's files do not have."""
        model: Any = self.model
        if state_dict and model.config.tie_word_embeddings:
            copies = set(model.all_tied_weights_keys)
            state_dict = {name: tensor for name, tensor in state_dict.items() if name not in copies}
        super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.sync_log()  # a checkpoint must never know more than the log
        super()._save_checkpoint(model, trial)
        dist.barrier()
        if self.args.process_index == 0:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            write_json(folder / COMPLETE, {"step": self.state.global_step, "processes": self.args.world_size})
        dist.barrier()


class Progress(TrainerCallback):
    """Metrics of every step to `metrics.jsonl` and live to Dagster (process 0), and no checkpoint after the last step."""

    def __init__(self, work: Work, samples: Samples, report: Report) -> None:
        self._work, self._report, self._samples = work, report, samples
        lengths = (0 if row == EMPTY else samples.tokens[row] for row in samples.places)
        self._tokens_before = array("q", accumulate(lengths, initial=0))  # tokens before each place
        self._last = self._begun = self._reported = time.monotonic()
        self._first_step = 0

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        self._first_step = state.global_step
        self._last = self._begun = time.monotonic()
        if state.is_world_process_zero:
            begun = f"resuming after step {state.global_step}" if state.global_step else "starting"
            text = f"{begun}: {self._samples.filled} samples in {state.max_steps} steps"
            self._report(text, {"event": "begin", "step": state.global_step})

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        """No checkpoint after the last step: the model itself is written next."""
        if state.global_step >= state.max_steps:
            control.should_save = False  # the model itself is written next

    def on_log(self, args: TrainingArguments, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        now, step = time.monotonic(), state.global_step
        if not all(math.isfinite(float(logs[name])) for name in ("loss", "grad_norm") if name in logs):
            raise TrainingError(
                f"in step {step} the loss is {logs['loss']} and the gradient's norm {logs.get('grad_norm')}; such a training can't "
                "recover: lower `learning_rate`, set `max_grad_norm`, or `dtype: float32`"
            )
        places = len(self._samples) // state.max_steps
        done, before = self._tokens_before[step * places], self._tokens_before[self._first_step * places]
        rate = (done - before) / (now - self._begun)
        row = {
            "step": step,
            "loss": float(logs["loss"]),
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": float(logs["grad_norm"]) if "grad_norm" in logs else None,
            "samples": min(step * places, self._samples.filled),
            "tokens": done,
            "seconds": round(now - self._last, 4),
            "tokens_per_s": round(rate, 1),
            "eta_s": round((self._tokens_before[-1] - done) / rate, 1),
        }
        self._last = now
        with self._work.metrics.open("a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")
        if now - self._reported >= _REPORT_EVERY_S or step == state.max_steps:
            self._reported = now
            text = f"step {step}/{state.max_steps}  loss {row['loss']:.4f}  {rate:.0f} tokens/s  {row['eta_s']:.0f} s left"
            self._report(text, {"event": "step", **row})

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._report(f"checkpoint after step {state.global_step}", {"event": "checkpoint", "step": state.global_step})


class BeforeFirstStep(TrainerCallback):
    """Writes `before.json` when the engine stands and nothing is trained yet; a resumed run finds it."""

    def __init__(self, work: Work, pad: int, report: Report) -> None:
        self._work, self._pad, self._report = work, pad, report
        self.engine: Callable[[], Any] = lambda: None  # of the trainer that this callback is given to

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if self._work.before.is_file():
            return
        engine = self.engine()
        digests, loss = digest_weights(engine), mean_loss(engine, self._work.held_out, self._pad)
        if state.is_world_process_zero:
            write_json(self._work.before, {"digests": digests, "held_out": loss})
            if loss is not None:
                self._report(f"loss on held-out users before the first step: {loss:.4f}", {"event": "held_out", "loss": loss})
        dist.barrier()


def digest_weights(engine: Any) -> dict[str, int]:
    """A number for every trainable tensor that changes when any of its weights does, of the optimizer's full-precision copy: a small
    step may be lost in bfloat16. All processes must call it."""
    from deepspeed.utils import safe_get_full_fp32_param

    digests = {}
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad:
            full = safe_get_full_fp32_param(parameter)
            digests[name] = _digest(parameter.detach().float() if full is None else full.float())
    return digests


def _digest(weights: torch.Tensor) -> int:
    """A sum of the weights' bits, each by its place: exact, so that neither threads nor devices make a difference."""
    total = 0
    for part in weights.contiguous().view(torch.int32).flatten().split(_DIGEST_WEIGHTS):
        places = torch.arange(part.numel(), device=part.device).remainder(8191) + 1
        total = (total * 31 + int((part.long() * places).sum())) % 2**61
    return total


@torch.no_grad()
def mean_loss(engine: Any, encoded: Path, pad: int) -> float | None:
    """Mean loss per trained token over encoded samples, None without any. All processes must call it; each takes a share."""
    table = read_encoded(encoded) if encoded.is_file() else None
    if table is None or not table.num_rows:
        return None
    rank, processes = dist.get_rank(), dist.get_world_size()
    sums = torch.zeros(2, dtype=torch.float64, device=engine.device)  # loss, tokens
    engine.eval()
    for start in range(0, table.num_rows, processes):
        row = table.slice(min(start + rank, table.num_rows - 1), 1).to_pylist()[
            0
        ]  # the last again: all must take part equally often
        batch = collate([{"place": 0, **label_tokens(row["input_ids"], row["trained"])}], pad)
        batch = {name: tensor.to(engine.device) for name, tensor in batch.items()}
        logits = engine(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        losses = torch.nn.functional.cross_entropy(
            logits[0, :-1].float(), batch["labels"][0, 1:], ignore_index=_IGNORED, reduction="sum"
        )
        if start + rank < table.num_rows:
            sums += torch.stack([losses.double(), (batch["labels"][0, 1:] != _IGNORED).sum().double()])
    engine.train()
    dist.all_reduce(sums)
    return (sums[0] / sums[1]).item()


@contextlib.contextmanager
def reporting(rank: int) -> Iterator[Report]:
    """What reports progress: to the process's log, and to Dagster's event log where Dagster started this process."""
    if rank or "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield lambda text, _: print(text, flush=True)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:

        def report(text: str, payload: dict[str, Any]) -> None:
            print(text, flush=True)
            pipes.log.info(text)
            pipes.report_custom_message(payload)

        yield report


# ---- one run ---------------------------------------------------------------------------------------------------------


def train(work: Work) -> None:
    """Train as `config.json` says, from the newest complete checkpoint on if there is one. Called by every process.

    Raises:
        TemplateError: the chat template allows no exact masks.
        TrainingError: no sample is left to train on.
    """
    settings = work.settings()
    hyper = Hyperparameters.model_validate(settings["hyperparameters"])
    launch = Launch.model_validate(settings["launch"])
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if processes != settings["processes"]:
        raise TrainingError(
            f"{processes} training processes were started, but the profile's `launch` says {settings['processes']}: a step would not "
            f"train the recipe's {hyper.batch_size} samples; make as many devices visible as processes are wanted"
        )
    if launch.cpu:
        # DeepSpeed would compile a shared-memory collective that ZeRO never calls; without it there is no compiler run.
        # (By name: the attribute `deepspeed.comm.torch` is the package torch, not this module.)
        importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # type: ignore[attr-defined]
        if launch.threads:
            torch.set_num_threads(launch.threads)
    elif (device := int(os.environ["LOCAL_RANK"])) < torch.cuda.device_count():
        torch.cuda.set_device(device)
    else:
        raise TrainingError(
            f"process {rank} has no GPU of its own on its host, where {torch.cuda.device_count()} are visible; correct "
            "`processes` or the hostfile under `launch` in the profile"
        )
    # The Trainer skips this on CPU, and ZeRO would then see a world of one process.
    deepspeed.init_distributed("gloo" if launch.cpu else "nccl", timeout=_COLLECTIVE_TIMEOUT)
    with reporting(rank) as report:
        _train(work, settings, hyper, launch, rank, report)
    dist.barrier()
    dist.destroy_process_group()


def _train(work: Work, settings: dict[str, Any], hyper: Hyperparameters, launch: Launch, rank: int, report: Report) -> None:
    tokenizer = load_tokenizer(settings["base_model"])
    if rank == 0:
        for checkpoint in work.checkpoints.glob("checkpoint-*"):
            if not (checkpoint / COMPLETE).is_file():
                shutil.rmtree(checkpoint)
        encode_samples(work, tokenizer)
    dist.barrier()
    samples = Samples(work.encoded, hyper)
    checkpoint = work.newest_checkpoint()
    reached = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    cut_log(work.consumed_log(rank), reached)
    if rank == 0:
        cut_log(work.metrics, reached)

    arguments = _arguments(work, hyper, launch, settings["processes"])  # before the model: ZeRO 3 divides it while it loads
    set_seed(hyper.seed)
    dtype = getattr(torch, hyper.dtype)
    model = AutoModelForCausalLM.from_pretrained(settings["base_model"], dtype=dtype, attn_implementation="sdpa")
    use_cache, model.config.use_cache = model.config.use_cache, False
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    before = BeforeFirstStep(work, pad, report)
    trainer = RecordingTrainer(
        samples=samples,
        log=work.consumed_log(rank),
        model=model,
        args=arguments,
        data_collator=lambda rows: collate(rows, pad),
        processing_class=tokenizer,
        callbacks=[before, Progress(work, samples, report)],
    )
    before.engine = lambda: trainer.model_wrapped
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.sync_log()
    engine: Any = trainer.model_wrapped
    after = _After(engine.global_steps - engine.skipped_steps, digest_weights(engine), mean_loss(engine, work.held_out, pad))
    model.config.use_cache = use_cache
    partial = work.folder / "model.partial"
    trainer.save_model(str(partial))
    dist.barrier()
    if rank == 0:
        _finish(work, samples, settings, partial, reached, after)
        if after.held_out is not None:
            report(
                f"loss on held-out users after the last step: {after.held_out:.4f}", {"event": "held_out", "loss": after.held_out}
            )
        report("training finished", {"event": "end", "step": samples.steps})


class _After(NamedTuple):
    """What held after the last step."""

    steps: int  # that the optimizer did not skip
    digests: dict[str, int]
    held_out: float | None


def _arguments(work: Work, hyper: Hyperparameters, launch: Launch, processes: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work.checkpoints),
        per_device_train_batch_size=launch.micro_batch,
        gradient_accumulation_steps=hyper.batch_size // (launch.micro_batch * processes),
        num_train_epochs=1,  # the stream holds all epochs
        train_sampling_strategy="sequential",
        learning_rate=hyper.learning_rate,
        lr_scheduler_type=hyper.scheduler,
        warmup_steps=hyper.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=hyper.weight_decay,
        max_grad_norm=hyper.max_grad_norm,
        optim="adamw_torch" if launch.cpu else "adamw_torch_fused",
        bf16=hyper.dtype == "bfloat16",
        use_cpu=launch.cpu,
        deepspeed=deepspeed_config(launch, hyper),
        gradient_checkpointing=launch.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=launch.save_steps,
        save_total_limit=2,
        seed=hyper.seed,
        data_seed=hyper.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=not launch.cpu,
        report_to=[],
        disable_tqdm=True,
    )


def _finish(work: Work, samples: Samples, settings: dict[str, Any], partial: Path, reached: int, after: _After) -> None:
    """Write `consumed.parquet`, move the model into place and write `outcome.json`, last."""
    trained = _merge_consumed(work, samples, settings["processes"])
    before = json.loads(work.before.read_text(encoding="utf-8"))
    for pickle in partial.glob("*.bin"):
        pickle.unlink()  # transformers' own arguments; a model folder holds safetensors and text alone
    normalise_model_folder(partial)
    shutil.rmtree(work.model, ignore_errors=True)
    partial.rename(work.model)
    rows = [row for row in samples.places if row != EMPTY]
    write_json(
        work.outcome,
        {
            "key": settings["key"],
            "planned_steps": samples.steps,
            "steps": after.steps,
            "planned_samples": samples.filled,
            "samples": trained.samples,
            "distinct_samples": len(set(rows)),
            "epochs": round(samples.filled / len(samples.ids), 4),
            "planned_tokens": sum(samples.tokens[row] for row in rows),
            "tokens": trained.tokens,
            "trained_tokens": sum(samples.trained[row] for row in rows),
            "dropped": work.count_dropped(),
            "processes": settings["processes"],
            "resumed_after_step": reached,
            "tensors": len(after.digests),
            "unchanged": sorted(name for name, digest in after.digests.items() if digest == before["digests"].get(name)),
            "held_out_samples": read_encoded(work.held_out).num_rows if work.held_out.is_file() else 0,
            "held_out_before": before["held_out"],
            "held_out_after": after.held_out,
        },
    )
    shutil.rmtree(work.processes)


class _Trained(NamedTuple):
    samples: int
    tokens: int


def _merge_consumed(work: Work, samples: Samples, processes: int) -> _Trained:
    """One table of the processes' logs, in the order of the stream; returns how many samples and tokens they hold.

    Raises:
        RuntimeError: the logs do not hold every place of the stream exactly once.
    """
    logs = [str(work.consumed_log(rank)) for rank in range(processes)]
    columns = "{step: 'INTEGER', rank: 'INTEGER', places: 'BIGINT[]', sample_ids: 'VARCHAR[]', tokens: 'BIGINT'}"
    partial = work.consumed.with_suffix(".partial")
    with duckdb.connect() as con:
        con.execute(f"create table log as from read_json(?, format = 'newline_delimited', columns = {columns})", [logs])
        con.execute(
            "create table consumed as select unnest(places) as position, step, rank, unnest(sample_ids) as sample_id from log"
        )
        tokens = con.execute("select sum(tokens)::bigint from log").fetchall()[0][0]
        found = con.execute("select count(*), count(distinct position), min(position), max(position) from consumed").fetchone()
        planned = (samples.filled, samples.filled, 0, samples.filled - 1)
        if not found or found != planned:
            raise RuntimeError(
                f"the training log is not whole: rows, distinct places, first, last are {found}, planned {planned}"
            )
        con.execute(
            f"copy (select position, step, (position // {len(samples.ids)})::integer as epoch, rank, sample_id "
            f"from consumed order by position) to '{str(partial).replace(chr(39), chr(39) * 2)}' (format parquet)"
        )
    partial.replace(work.consumed)
    return _Trained(found[0], tokens)
