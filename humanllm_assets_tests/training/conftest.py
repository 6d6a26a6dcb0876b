"""Tiny models with a tokenizer of their own, made once per test session in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `base` and `tuned`."""
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("make_tiny_models.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def tokenizer(models: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models / "base")
