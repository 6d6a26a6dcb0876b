"""Profile `paper` reads every file of the official data sets, each in one slice. Names as their publishers list them."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from humanllm_assets.sources.assets import slice_files
from resources.profile import Profile, load_profile

SHARDS = [f"train-{n:05d}-of-00041-{hashlib.sha256(str(n).encode()).hexdigest()[:16]}.parquet" for n in range(41)]
_CATEGORIES = (  # Amazon Reviews 2023, https://amazon-reviews-2023.github.io
    "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products Beauty_and_Personal_Care Books "
    "CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards "
    "Grocery_and_Gourmet_Food Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen "
    "Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products "
    "Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes Tools_and_Home_Improvement "
    "Toys_and_Games Video_Games Unknown"
)
CATEGORIES = _CATEGORIES.split()


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("HUMANLLM_DATA", str(tmp_path))
    for name in ("reddit", "twitter", "blogger", "amazon"):
        (tmp_path / name).mkdir()
    return load_profile("paper")


def read_files(paper: Profile, source: str) -> Counter[str]:
    """How many slices read each file as records."""
    slices = (slice_files(paper, source, name) for name in paper.sources[source].slices)
    return Counter(path.name for files in slices for path in files.records)


def test_every_shard_of_tweets_is_in_one_slice(paper: Profile, tmp_path: Path) -> None:
    assert {name[-9] for name in SHARDS} & set("abcdef"), "the names end in hexadecimal digits"
    for name in SHARDS:
        (tmp_path / "twitter" / name).touch()
    assert read_files(paper, "twitter") == Counter(SHARDS)


def test_every_category_of_reviews_is_in_one_slice(paper: Profile, tmp_path: Path) -> None:
    for name in CATEGORIES:
        for path in (f"{name}.jsonl.gz", f"meta_{name}.jsonl.gz"):
            (tmp_path / "amazon" / path).touch()
    assert len(CATEGORIES) == 34
    assert read_files(paper, "amazon") == Counter(f"{name}.jsonl.gz" for name in CATEGORIES)


def test_posts_and_comments_are_of_the_same_fifty_subreddits(paper: Profile) -> None:
    posts, comments = (paper.sources[source].slices for source in ("reddit", "reddit_comments"))
    assert len(posts) == 50 and list(posts) == list(comments)
    for name, own in posts.items():
        assert own.files == [f"{name}_submissions.zst"] and comments[name].files == [f"{name}_comments.zst"]
