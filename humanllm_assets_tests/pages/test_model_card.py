"""The card says what it was told, and no more."""

import json

import pytest
import yaml

from humanllm_assets.pages.model_card import write_lineage, write_model_card


def test_card_shows_every_fact(tmp_path):
    facts = {
        "name": "small-humanllm",
        "base_model": "org/small",
        "merge_weight": 0.5,
        "data": {("social_qa", "reddit"): 1200, ("external", "orca"): 300},
        "hyperparameters": {"learning_rate": 5e-6, "max_steps": None},
        "outcome": {"steps": 12, "dropped": {"too_long": 3}},
        "notes": ["QC thresholds relaxed"],
        "limitations": ["too small to be useful"],
    }
    text = write_model_card(tmp_path, facts).read_text()
    assert yaml.safe_load(text.split("---")[1])["base_model"] == "org/small"
    for shown in (
        "| social_qa / reddit | 1,200 |",
        "| all | 1,500 |",
        "| learning rate | 5e-06 |",
        "| dropped | too_long: 3 |",
        "- QC thresholds relaxed",
        "- too small to be useful",
        "weight of the fine-tuned model: 0.5",
    ):
        assert shown in text


def test_card_needs_a_name_and_a_base(tmp_path):
    with pytest.raises(KeyError):
        write_model_card(tmp_path, {"name": "x"})


def test_lineage_is_readable_back(tmp_path):
    lineage = {"upstream": [{"asset": "task_datasets", "partition": "social_qa-reddit"}], "identity": "ü"}
    assert json.loads(write_lineage(tmp_path, lineage).read_text(encoding="utf-8")) == lineage
