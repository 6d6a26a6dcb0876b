"""Loads an export in the working directory with Axolotl; prints the samples, and what is trained of the first one."""

import sys
from pathlib import Path

import yaml
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets
from transformers import AutoTokenizer  # noqa: TID253


def main() -> None:
    model, cache = sys.argv[1:]
    settings = yaml.safe_load(Path("axolotl.yaml").read_text()) | {
        "base_model": model,
        "sequence_len": 2048,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "learning_rate": 0.0001,
        "optimizer": "adamw_torch",
        "output_dir": f"{cache}/out",
        "dataset_prepared_path": f"{cache}/prepared",
        "special_tokens": {"pad_token": "<|endoftext|>"},
        "shuffle_merged_datasets": False,
        "dataset_num_proc": 1,
    }
    Path(cache).mkdir(exist_ok=True)
    file = Path(cache) / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    data = load_datasets(cfg=load_cfg(str(file))).train_dataset
    print(len(data))
    trained = [label for label in data[0]["labels"] if label != -100]
    print(AutoTokenizer.from_pretrained(model).decode(trained).replace("\n", " "))


if __name__ == "__main__":  # Axolotl reads rows in processes that import this file again
    main()
