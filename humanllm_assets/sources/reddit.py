"""Reddit submissions (S1): monthly dumps of Pushshift and its successors."""

from __future__ import annotations

from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import NO_TIME, say_problem

CONTAINERS = ("ndjson", "ndjson.gz", "zst", "parquet")
FIELDS = ("id", "author", "title", "created_utc")
OPTIONAL = ("selftext", "score", "num_comments", "distinguished")
BODY = "CASE WHEN trim(coalesce({0}, '')) IN ('[removed]', '[deleted]') THEN '' ELSE coalesce(clean_text({0}), '') END"
REMOVED = "trim(coalesce({0}, '')) IN ('[removed]', '[deleted]')"
AUTHOR = "'reddit/' || coalesce(nullif(trim(author), ''), '[deleted]')"
POST_ID = "'reddit:t3_' || regexp_replace(id, '^t3_', '')"
SCORE = "TRY_CAST(TRY_CAST(score AS DOUBLE) AS BIGINT)"

_POST = Shape(
    "id",
    say_problem(id="id IS NULL", created_utc=NO_TIME.format("created_utc")),
    {
        "record_id": POST_ID,
        "user_id": AUTHOR,
        "created_at": "unix_time(created_utc)",
        "title": "clean_text(title)",
        "text": f"rtrim(coalesce(clean_text(title), '') || chr(10) || chr(10) || {BODY.format('selftext')}, chr(10))",
        "score": SCORE,
        "num_comments": "TRY_CAST(TRY_CAST(num_comments AS DOUBLE) AS BIGINT)",
        "distinguished": "distinguished",
        "removed": REMOVED.format("selftext"),
    },
)
FILES = SourceFiles((Layout("pushshift", FIELDS, _POST, OPTIONAL, CONTAINERS),))
