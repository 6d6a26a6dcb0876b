"""One name of a partition, in memory, on disk and as people write it."""

from __future__ import annotations

import pytest

from humanllm_assets.lineage.items import Item

SOME = (Item("raw_reddit", "askdaily"), Item("amazon_core"), Item("benchmark_scores", "writing|smollm2"))


@pytest.mark.parametrize("item", SOME, ids=str)
def test_what_is_written_and_what_lies_on_disk_lead_back_to_the_item(item):
    assert Item.parse(str(item)) == Item.of_folder(item.asset, item.folder) == item == tuple(item)


def test_an_asset_without_partitions_is_named_alone():
    assert (str(SOME[1]), SOME[1].folder, f"{SOME[0]}") == ("amazon_core", "all", "raw_reddit[askdaily]")


@pytest.mark.parametrize("text", ["", "[a]", "raw[a", "raw]a[", "raw[a] b", "raw[]"])
def test_anything_else_is_no_item(text):
    assert Item.parse(text) is None
