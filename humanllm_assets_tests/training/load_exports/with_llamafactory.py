"""Loads an export in the working directory with LLaMA-Factory; prints the samples, and what is trained of the first one."""

import sys

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

model, cache = sys.argv[1:]
settings = {
    "stage": "sft",
    "do_train": True,
    "model_name_or_path": model,
    "dataset_dir": ".",
    "dataset": "humanllm_train",
    "template": "chatml",
    "cutoff_len": 2048,
    "output_dir": f"{cache}/out",
    "cache_dir": cache,
    "use_cpu": True,
    "report_to": "none",
}
model_args, data_args, training_args, _, _ = get_train_args(settings)
module = load_tokenizer(model_args)
template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
data = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
print(len(data))
trained = [label for label in data[0]["labels"] if label != -100]
print(module["tokenizer"].decode(trained).replace("\n", " "))
