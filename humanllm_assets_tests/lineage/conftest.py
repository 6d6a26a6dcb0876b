"""Fixtures of the laws on the small graph that asks a model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from humanllm_assets_tests.lineage.llm_world import ModelServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running
