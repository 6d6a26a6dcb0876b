"""The profile `paper` against the names of the official files: each is in exactly one slice of its source."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from humanllm_assets.sources.files import find_files
from resources.profile import load_profile

# all_categories.txt of the data set of 2023: 33 categories and "Unknown"
CATEGORIES = """All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products Beauty_and_Personal_Care Books
    CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
    Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen
    Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products
    Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games
    Video_Games Unknown"""
PROFILE = load_profile("paper")


def shards(seed: str) -> list[str]:
    """Names of the 41 shards; what stands behind the number is a hash, which may end in any of 16 digits."""
    return [f"train-{n:05}-of-00041-{hashlib.sha256(f'{seed}{n}'.encode()).hexdigest()[:16]}.parquet" for n in range(41)]


OFFICIAL = {
    "twitter": shards("a"),
    "amazon": [f"{name}.jsonl.gz" for name in CATEGORIES.split()],
    "blogger": ["blogtext.csv"],
    **{
        source: [f"{name}_{kind}.zst" for name in PROFILE.sources["reddit"].slices]
        for source, kind in (("reddit", "submissions"), ("reddit_comments", "comments"))
    },
}


def touch(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize("source", OFFICIAL)
def test_every_official_file_is_in_one_slice(source: str, tmp_path: Path) -> None:
    assert set(OFFICIAL) == set(PROFILE.sources)
    touch(tmp_path, OFFICIAL[source])
    found = Counter(path.name for s in PROFILE.sources[source].slices.values() for path in find_files(tmp_path, s.files))
    assert found == Counter(OFFICIAL[source])


@pytest.mark.parametrize("seed", "bcd")
def test_a_shard_goes_by_its_number_whatever_its_hash(seed: str, tmp_path: Path) -> None:
    touch(tmp_path, shards(seed))
    for name, of_slice in PROFILE.sources["twitter"].slices.items():
        assert {path.name[10] for path in find_files(tmp_path, of_slice.files)} == {name[-1]}


def test_every_category_has_its_items() -> None:
    slices = PROFILE.sources["amazon"].slices
    assert {name: s.context_files for name, s in slices.items()} == {
        name: [f"meta_{name}.jsonl.gz"] for name in CATEGORIES.split()
    }


def test_subreddits_are_spelled_as_the_dumps_spell_them() -> None:
    posts, comments = (PROFILE.sources[source].slices for source in ("reddit", "reddit_comments"))
    assert list(posts) == list(comments) and {"Fitness", "DecidingToBeBetter"} <= set(posts)
    assert all(s.context_files == posts[name].files for name, s in comments.items())
