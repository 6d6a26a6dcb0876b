"""Samples in the forms that other trainers read: one JSON line per sample, and the file by which a trainer finds them.

Every line also has `id`, a hash of the sample's id (which may hold a user name), and `task` and `source`. Control tokens that a text
spells out are broken up by a blank: training here keeps such spellings as text, which no other trainer is sure to do.

What belongs here: forms, what is left out, counts. What does not: which samples (`commands/export.py`), the card (`pages/data_card.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml

from humanllm_assets.training.encoding import ROLES, encode_conversations
from resources.errors import Explained
from resources.prompting.control_tokens import break_control_tokens

Row = Mapping[str, Any]
Turns = Sequence[Mapping[str, str]]
Measure = Callable[[Sequence[Turns]], list[int]]
"""Tokens of conversations as a model's template writes them."""
SPLITS = ("train", "test")
_BATCH = 256  # samples that are in memory at a time


class ExportError(Explained):
    """An export that cannot be made, or that came out other than its samples; one sentence with the remedy."""


class Form(NamedTuple):
    """What one trainer reads: a sample's line, and the file beside the lines, as (name, content) of a data set and its splits."""

    line: Callable[[Turns], dict[str, Any]]
    beside: Callable[[str, Sequence[str]], tuple[str, str] | None]
    load: str
    """How the trainer is told to read the folder, as code for people."""


def _messages(turns: Turns) -> list[dict[str, str]]:
    return [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in turns]


def _sharegpt(turns: Turns) -> dict[str, Any]:
    return {"conversations": [{"from": turn["from"], "value": turn["value"]} for turn in turns]}


def _prompt_completion(turns: Turns) -> dict[str, Any]:
    messages = _messages(turns)
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def _nothing(name: str, splits: Sequence[str]) -> None:
    return None


def _dataset_info(name: str, splits: Sequence[str]) -> tuple[str, str]:
    """LLaMA-Factory's registry of data sets: `<name>_train` and `<name>_test`."""
    described = {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
    }
    info = {f"{name}_{split}": {"file_name": f"{split}.jsonl", **described} for split in splits}
    return "dataset_info.json", orjson.dumps(info, option=orjson.OPT_INDENT_2).decode() + "\n"


def _axolotl_config(name: str, splits: Sequence[str]) -> tuple[str, str]:
    """The part of an Axolotl configuration that names the data; paths are from this folder."""

    def describe(split: str) -> dict[str, Any]:
        return {
            "path": f"{split}.jsonl",
            "ds_type": "json",
            "type": "chat_template",
            "field_messages": "messages",
            "message_property_mappings": {"role": "role", "content": "content"},
            "roles_to_train": ["assistant"],
            "train_on_eos": "turn",
            **({"split": "train"} if split == "test" else {}),  # of a JSON file all rows are its `train`
        }

    keys = {"train": "datasets", "test": "test_datasets"}
    config = {"chat_template": "tokenizer_default", **{keys[split]: [describe(split)] for split in splits}}
    return "axolotl.yaml", yaml.safe_dump(config, sort_keys=False)


_LOAD_JSON = 'load_dataset("json", data_files={"train": "train.jsonl", "test": "test.jsonl"})'
FORMS: dict[str, Form] = {
    "llamafactory": Form(_sharegpt, _dataset_info, "llamafactory-cli train ... dataset_dir=<this folder> dataset=<name>_train template=..."),
    "trl": Form(_prompt_completion, _nothing, f"SFTTrainer(train_dataset={_LOAD_JSON}['train'])  # loss on the completion alone"),
    "axolotl": Form(lambda turns: {"messages": _messages(turns)}, _axolotl_config, "cd <this folder>; axolotl train <your settings with axolotl.yaml>"),
    "messages": Form(lambda turns: {"messages": _messages(turns)}, _nothing, _LOAD_JSON),
    "sharegpt": Form(_sharegpt, _nothing, _LOAD_JSON),
}  # fmt: skip


@dataclass
class Exported:
    """What an export read, wrote and left out: samples by (task, source, split), and by reason."""

    written: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    read: int = 0

    @property
    def splits(self) -> list[str]:
        """The splits that have a file."""
        return [split for split in SPLITS if any(n for (_, _, s), n in self.written.items() if s == split)]


def measure_with(folder: Path) -> Measure:
    """Counts tokens with the tokenizer and chat template of a model folder; nothing is downloaded and no code of the folder runs.

    Raises:
        ExportError: the folder holds no tokenizer, or one without a chat template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise ExportError(
            f"{folder} holds no tokenizer ({str(e).splitlines()[0]}); give the folder of a model with --tokenizer"
        ) from e
    if not tokenizer.chat_template:
        raise ExportError(f"the tokenizer in {folder} has no chat template; give --tokenizer the folder of an instruction model")
    return lambda conversations: [len(e.input_ids) for e in encode_conversations(tokenizer, conversations)]


def write_lines(
    samples: Iterable[Row],
    form: Form,
    folder: Path,
    max_tokens: int | None = None,
    measure: Measure | None = None,
    not_drawn: Collection[str] = (),
) -> Exported:
    """Write `train.jsonl` and `test.jsonl`; a split without samples gets no file.

    Args:
        samples: sample_id, task, source, split, conversations (ShareGPT turns as JSON).
        max_tokens: longer samples, by `measure`, are left out as `too_long`.
        not_drawn: ids of samples that the exported recipe does not train, left out under this name.

    Raises:
        ExportError: the files do not hold as many lines as were written to them.
    """
    done, lines = Exported(), Counter[str]()
    files = {split: (folder / f"{split}.jsonl").open("wb") for split in SPLITS}
    try:
        for read in _batches(samples):
            batch = [sample for sample in read if sample["sample_id"] not in not_drawn]
            if left_out := len(read) - len(batch):
                done.dropped["not_drawn"] += left_out
            turns = [[{**t, "value": break_control_tokens(t["value"])} for t in orjson.loads(s["conversations"])] for s in batch]
            lengths = measure(turns) if measure and max_tokens else [0] * len(batch)
            done.read += len(read)
            for sample, spoken, length in zip(batch, turns, lengths, strict=True):
                if max_tokens and length > max_tokens:
                    done.dropped["too_long"] += 1
                    continue
                line = {
                    "id": public_id(sample["sample_id"]),
                    "task": sample["task"],
                    "source": sample["source"],
                    **form.line(spoken),
                }
                files[sample["split"]].write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                done.written[sample["task"], sample["source"], sample["split"]] += 1
    finally:
        for file in files.values():
            file.close()
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        with path.open("rb") as file:
            lines[split] = sum(1 for _ in file)
        if not lines[split]:
            path.unlink()
    if lines.total() != done.written.total() or done.read != done.written.total() + done.dropped.total():
        raise ExportError(
            f"of {done.read:,} samples {lines.total():,} were written and {done.dropped.total():,} left out, which does not add up; "
            "see whether the disk is full, and export again"
        )
    return done


def public_id(sample_id: str) -> str:
    """A sample's id without the names that it may hold."""
    return hashlib.sha256(sample_id.encode()).hexdigest()[:20]


def _batches(samples: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(samples)
    while batch := list(islice(rest, _BATCH)):
        yield batch
