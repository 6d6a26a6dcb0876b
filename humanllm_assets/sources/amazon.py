"""Amazon reviews (S4) in the layouts of 2018 and 2023 and, as their context, the items that they are about."""

from __future__ import annotations

from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import no_time, say_problem

_OPENED = "1995-07-01"
CONTEXT_CHARS = 500  # of an item's description
_ITEM_2023 = "coalesce(nullif(parent_asin, ''), asin)"
_CONTAINERS_2023 = ("jsonl", "jsonl.gz", "jsonl.zst")
_CONTAINERS_2018 = ("json", "json.gz", "json.zst")


def _review(user: str, item: str, time: str, title: str, text: str, rating: str) -> dict[str, str]:
    return {
        "record_id": f"'amazon:' || {user} || ':' || {item}",
        "user_id": f"'amazon/' || {user}",
        "created_at": f"unix_time({time})",
        "title": f"clean_text({title})",
        "text": f"coalesce(clean_text({text}), '')",
        "context_id": item,
        "rating": f"TRY_CAST({rating} AS DOUBLE)",
    }


def _item(key: str, category: str, description: str) -> Shape:
    columns = {
        "context_id": key,
        "context_title": "plain_text(title)",
        "context_text": f"nullif(left(concat_ws('. ', {category}, {description}), {CONTEXT_CHARS}), '')",
    }
    return Shape(key, say_problem(id=f"{key} IS NULL"), columns)


_REVIEW_2023 = Shape(
    "user_id",
    say_problem(user_id="user_id IS NULL", item=f"{_ITEM_2023} IS NULL", timestamp=no_time('unix_time("timestamp")', _OPENED)),
    _review("user_id", _ITEM_2023, '"timestamp"', "title", "text", "rating"),
)
_REVIEW_2018 = Shape(
    "reviewerID",
    say_problem(
        reviewerID="reviewerID IS NULL", item="asin IS NULL", unixReviewTime=no_time("unix_time(unixReviewTime)", _OPENED)
    ),
    _review("reviewerID", "asin", "unixReviewTime", "summary", "reviewText", "overall"),
)
_OF_2023 = _item("parent_asin", "plain_text(main_category)", "coalesce(plain_text(description), plain_text(features))")
_OF_2018 = _item("asin", "coalesce(plain_text(main_cat), plain_text(category))", "plain_text(description)")
FILES = SourceFiles(
    records=(
        Layout(
            "amazon-2023",
            ("user_id", "parent_asin", "rating", "text", "timestamp"),
            _REVIEW_2023,
            ("asin", "title"),
            _CONTAINERS_2023,
        ),
        Layout(
            "amazon-2018",
            ("reviewerID", "asin", "overall", "unixReviewTime"),
            _REVIEW_2018,
            ("reviewText", "summary"),
            _CONTAINERS_2018,
        ),
    ),
    context=(
        Layout(
            "amazon-2023-items",
            ("parent_asin", "title", "main_category"),
            _OF_2023,
            ("description", "features"),
            _CONTAINERS_2023,
        ),
        Layout("amazon-2018-items", ("asin", "title", "category"), _OF_2018, ("description", "main_cat"), _CONTAINERS_2018),
    ),
)
