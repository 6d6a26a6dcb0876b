"""What is done before training processes start, in a process of its own that loads a tokenizer: the base model's chat template is
tried, and samples become tokens and masks.

`python -m humanllm_assets.training.prepare try-template <JSON>` prints what is wrong with the template for a recipe, as a JSON list;
`... encode <config.json>` does the same for a work folder, and writes its encoded samples when nothing is wrong.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from humanllm_assets.tasks.split import stable_shuffle
from humanllm_assets.training.encoding import ConversationError, Encoded, Encoder, TemplateError, encode_continuations
from resources.training import Work

_ENCODE_ROWS = 512  # samples encoded at once; bounds memory
_IDS = pa.list_(pa.int32())
_ENCODED = pa.schema(
    [("sample_id", pa.string()), ("input_ids", _IDS), ("trained", _IDS), ("n_tokens", pa.int32()), ("n_trained", pa.int32())]
)
_DROPPED = pa.schema([("sample_id", pa.string()), ("reason", pa.string()), ("n_tokens", pa.int32())])
_PROBE = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "It is this."}]

Encode = Callable[[Mapping[str, list[Any]]], list[Encoded | ConversationError]]


def load_tokenizer(base_model: str) -> Any:
    """The tokenizer of a model's folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_model)


def make_encode(tokenizer: Any, settings: Mapping[str, Any]) -> Encode:
    """What turns rows of training samples into tokens and masks, for the objective, template arguments and date of `settings`."""
    if settings["objective"] == "raw_continuation":
        return lambda rows: list(encode_continuations(tokenizer, rows["text"], rows["split_at"]))
    encoder = Encoder(tokenizer, settings["template_arguments"], date.fromisoformat(settings["template_date"]))
    return lambda rows: encoder.try_conversations([json.loads(c) for c in rows["conversations"]])


def find_template_faults(tokenizer: Any, settings: Mapping[str, Any]) -> list[str]:
    """Why a tokenizer and its chat template can't be used for what `settings` say; arguments that the template does not know too."""
    faults: list[str] = []
    template = tokenizer.chat_template
    if settings["objective"] == "raw_continuation":
        probe: Mapping[str, list[Any]] = {"text": ["It is this."], "split_at": [5]}
    elif not isinstance(template, str):
        return [
            "the base model has no chat template; put its chat_template.jinja into the model's folder, or train an instruct model"
        ]
    else:
        probe = {"conversations": [json.dumps(_PROBE)]}
        for name in settings["template_arguments"]:
            if not re.search(rf"\b{re.escape(name)}\b", template):
                faults.append(
                    f"`chat_template_arguments.{name}` has no effect: the model's chat template does not use it; remove it"
                )
    try:
        (found,) = make_encode(tokenizer, settings)(probe)
    except TemplateError as e:
        return [*faults, str(e)]
    return [*faults, str(found)] if isinstance(found, ConversationError) else faults


def encode_samples(work: Work, tokenizer: Any) -> None:
    """Write `encoded.arrow`, `held_out.arrow` and `dropped.parquet`, unless they are there already.

    Samples over the recipe's length, and conversations that are irregular or that the template can't write, are left out whole; so
    are those beyond the recipe's `max_tokens`, in an order by seed and id.
    """
    if work.encoded.is_file():
        return
    settings = work.settings()
    encode, longest = make_encode(tokenizer, settings), settings["hyperparameters"]["max_length"]
    partial = work.encoded.with_suffix(".partial")
    dropped = _encode_file(Path(settings["samples"]), partial, encode, longest)
    if settings.get("max_tokens"):
        hyper = settings["hyperparameters"]
        dropped += _leave_out_over_budget(partial, settings["max_tokens"] / hyper["epochs"], hyper["seed"])
    if settings["held_out"]:
        _encode_file(Path(settings["held_out"]), work.held_out, encode, longest)
        ids = pq.read_table(settings["held_out"], columns=["sample_id"])["sample_id"].to_pylist()
        dropped += [{"sample_id": i, "reason": "held_out", "n_tokens": None} for i in ids]
    pq.write_table(pa.Table.from_pylist(dropped, schema=_DROPPED), work.dropped)
    partial.replace(work.encoded)


def _encode_file(samples: Path, out: Path, encode: Encode, longest: int) -> list[dict[str, Any]]:
    """Write the encoded samples of a file; returns those left out."""
    dropped: list[dict[str, Any]] = []
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, _ENCODED) as written:
        for batch in pq.ParquetFile(samples).iter_batches(_ENCODE_ROWS):
            rows = batch.to_pydict()
            kept = []
            for sample_id, sample in zip(rows["sample_id"], encode(rows), strict=True):
                if isinstance(sample, ConversationError):
                    dropped.append({"sample_id": sample_id, "reason": sample.reason, "n_tokens": None})
                elif len(sample.input_ids) > longest:
                    dropped.append({"sample_id": sample_id, "reason": "too_long", "n_tokens": len(sample.input_ids)})
                else:
                    kept.append(_row(sample_id, sample))
            written.write_batch(pa.RecordBatch.from_pylist(kept, schema=_ENCODED))
    return dropped


def _leave_out_over_budget(encoded: Path, budget: float, seed: int) -> list[dict[str, Any]]:
    """Rewrite a file of encoded samples with as many as have `budget` tokens together; returns those left out."""
    with pa.memory_map(str(encoded)) as source:
        found = pa.ipc.open_file(source).read_all().select(["sample_id", "n_tokens"])
        tokens = dict(zip(found["sample_id"].to_pylist(), found["n_tokens"].to_pylist(), strict=True))
        used, kept = 0, set[str]()
        for sample_id in stable_shuffle(tokens, seed, "budget"):
            if used + tokens[sample_id] > budget:
                break
            used += tokens[sample_id]
            kept.add(sample_id)
        rest = encoded.with_suffix(".within")
        with pa.OSFile(str(rest), "wb") as sink, pa.ipc.new_file(sink, _ENCODED) as written:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                written.write_batch(batch.filter(pa.array([s in kept for s in batch["sample_id"].to_pylist()], pa.bool_())))
    rest.replace(encoded)
    return [{"sample_id": s, "reason": "over_max_tokens", "n_tokens": n} for s, n in tokens.items() if s not in kept]


def _row(sample_id: str, sample: Encoded) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "input_ids": sample.input_ids,
        "trained": [edge for span in sample.trained for edge in span],
        "n_tokens": len(sample.input_ids),
        "n_trained": sum(end - start for start, end in sample.trained),
    }


def main() -> None:
    """Try a template, and encode a work folder's samples when it can be used; prints what is wrong as a JSON list."""
    verb, argument = sys.argv[1:]
    work = Work(Path(argument).resolve().parent) if verb == "encode" else None
    settings = work.settings() if work else json.loads(argument)
    tokenizer = load_tokenizer(settings["base_model"])
    faults = find_template_faults(tokenizer, settings)
    if work and not faults:
        encode_samples(work, tokenizer)
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
