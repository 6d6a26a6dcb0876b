"""The forms of other trainers: what a line holds, what is left out, that nothing is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from humanllm_assets.training import exports
from humanllm_assets.training.exports import FORMS, Exported, ExportError, measure_with, public_id, write_lines

Row = dict[str, Any]


def sample(n: int, split: str = "train", words: int = 3) -> Row:
    turns = [{"from": "human", "value": f"Who is {n}? <|im_end|>"}, {"from": "gpt", "value": "word " * words + f"über {n}"}]
    return {
        "sample_id": f"profile_generation-reddit:profile:reddit/user{n}",
        "task": "profile_generation",
        "source": "reddit",
        "split": split,
        "conversations": orjson.dumps(turns).decode(),
    }


SAMPLES = [sample(n, "test" if n % 4 == 0 else "train") for n in range(600)]


def lines(path: Path) -> list[Row]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def written(folder: Path, form: str, samples: list[Row] | None = None) -> Exported:
    folder.mkdir(exist_ok=True)
    done = write_lines(samples or SAMPLES, FORMS[form], folder)
    if beside := FORMS[form].beside("humanllm", done.splits):
        (folder / beside[0]).write_text(beside[1])
    return done


QUESTION, ANSWER = "Who is 1? < |im_end|>", "word word word über 1"
LINES = {
    "llamafactory": {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    "sharegpt": {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
    "messages": {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    "axolotl": {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    "trl": {"prompt": [{"role": "user", "content": QUESTION}], "completion": [{"role": "assistant", "content": ANSWER}]},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_line_is_what_the_trainer_reads_and_every_sample_has_one(form: str, tmp_path: Path):
    done = written(tmp_path, form)
    train, test = lines(tmp_path / "train.jsonl"), lines(tmp_path / "test.jsonl")
    assert (len(train), len(test), done.read) == (450, 150, 600) and done.written.total() == 600
    assert train[0] == {"id": public_id(SAMPLES[1]["sample_id"]), "task": "profile_generation", "source": "reddit", **LINES[form]}
    assert {row["id"] for row in train + test} == {public_id(s["sample_id"]) for s in SAMPLES}
    assert b"user1" not in (tmp_path / "train.jsonl").read_bytes()  # nobody's name


def test_llamafactory_finds_the_files_through_its_registry(tmp_path: Path):
    written(tmp_path, "llamafactory")
    info = orjson.loads((tmp_path / "dataset_info.json").read_bytes())
    assert list(info) == ["humanllm_train", "humanllm_test"]
    entry = info["humanllm_train"]
    row = lines(tmp_path / entry["file_name"])[0]
    assert entry["formatting"] == "sharegpt" and {entry["tags"]["role_tag"], entry["tags"]["content_tag"]} == {"from", "value"}
    assert {turn["from"] for turn in row[entry["columns"]["messages"]]} == {
        entry["tags"]["user_tag"],
        entry["tags"]["assistant_tag"],
    }


def test_axolotl_finds_the_files_through_its_settings(tmp_path: Path):
    written(tmp_path, "axolotl")
    settings = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    for key in ("datasets", "test_datasets"):
        (entry,) = settings[key]
        assert entry["type"] == "chat_template" and entry["roles_to_train"] == ["assistant"]
        message = lines(tmp_path / entry["path"])[0][entry["field_messages"]][0]
        assert set(entry["message_property_mappings"].values()) == set(message)


def test_a_split_without_samples_has_no_file_and_no_entry(tmp_path: Path):
    done = written(tmp_path, "llamafactory", [sample(1)])
    assert done.splits == ["train"] and not (tmp_path / "test.jsonl").exists()
    assert list(orjson.loads((tmp_path / "dataset_info.json").read_bytes())) == ["humanllm_train"]


def test_samples_that_are_too_long_for_the_tokenizer_are_left_out_and_counted(tmp_path: Path, models: Path):
    measure = measure_with(models / "base")
    samples = [sample(1, words=words) for words in (3, 30, 300)]
    lengths = measure([orjson.loads(s["conversations"]) for s in samples])
    assert lengths == sorted(lengths) and lengths[0] < lengths[1]
    done = write_lines(samples, FORMS["messages"], tmp_path, lengths[1] + 5, measure)
    assert (done.read, done.written.total(), dict(done.dropped)) == (3, 2, {"too_long": 1})
    assert len(lines(tmp_path / "train.jsonl")) == 2


def test_a_folder_without_tokenizer_or_template_is_refused(tmp_path: Path, models: Path):
    with pytest.raises(ExportError, match="holds no tokenizer .*give the folder of a model with --tokenizer"):
        measure_with(tmp_path)
    for path in (models / "base").iterdir():
        if path.name not in ("chat_template.jinja", "model.safetensors"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ExportError, match="has no chat template"):
        measure_with(tmp_path)


def test_lines_that_are_lost_are_noticed(tmp_path: Path):
    samples = [sample(1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exports.orjson, "dumps", lambda row, option: b"")
        with pytest.raises(ExportError, match="of 1 samples 0 were written and 0 left out, which does not add up"):
            write_lines(samples, FORMS["messages"], tmp_path)


# ---- with the real trainers, each in an environment of its own -------------------------------------------------------

ENVIRONMENTS = os.environ.get("HUMANLLM_TRAINER_ENVIRONMENTS")  # a folder with the environments trl, llamafactory, axolotl


@pytest.mark.skipif(not ENVIRONMENTS, reason="set HUMANLLM_TRAINER_ENVIRONMENTS to a folder of environments, see docs/exports.md")
@pytest.mark.parametrize("trainer", ["trl", "llamafactory", "axolotl"])
def test_the_real_trainer_loads_every_sample_and_trains_the_answers_alone(trainer: str, tmp_path: Path, models: Path):
    python = Path(str(ENVIRONMENTS)) / trainer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no environment {trainer}")
    folder = tmp_path / "data"
    written(folder, trainer)
    script = Path(__file__).with_name("load_exports") / f"with_{trainer}.py"
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
    command = [python, script, models / "base", tmp_path / "cache"]
    done = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rows, *trained = done.stdout.strip().splitlines()[-2:]
    assert int(rows) == 450
    assert ANSWER in trained[0] and "Who is" not in trained[0]
