"""Loads an export in the working directory with TRL; prints the samples, and what is trained of the first one."""

import sys

from datasets import load_dataset
from transformers import AutoTokenizer  # noqa: TID253
from trl import SFTConfig, SFTTrainer

model, cache = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
data = load_dataset("json", data_files={"train": "train.jsonl", "test": "test.jsonl"}, cache_dir=cache)
settings = SFTConfig(output_dir=cache, report_to="none", use_cpu=True, bf16=False)
trainer = SFTTrainer(model, args=settings, train_dataset=data["train"], processing_class=tokenizer)
first = trainer.train_dataset[0]
print(len(trainer.train_dataset))
print(tokenizer.decode([label for label in first["labels"] if label != -100]).replace("\n", " "))
