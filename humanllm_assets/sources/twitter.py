"""Tweets (S2): the shards of Twitter100m."""

from __future__ import annotations

from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import no_time, say_problem

_TWEET = Shape(
    "user",
    say_problem(user='"user" IS NULL', date=no_time("utc_time(date)", "2006-03-01")),
    {
        # Ids that a spreadsheet rounded (1.76555E+18, or digits that end in nine zeros) name no tweet any more.
        "record_id": """CASE
            WHEN regexp_full_match(id, '[0-9]+') AND NOT (length(id) > 15 AND id LIKE '%000000000') THEN 'twitter:' || id
            ELSE 'twitter:h' || left(sha256("user" || '|' || strftime(utc_time(date), '%Y-%m-%dT%H:%M:%S') || '|'
                || coalesce(clean_text(tweet), '')), 16) END""",
        "user_id": "'twitter/' || \"user\"",
        "created_at": "utc_time(date)",
        "text": "coalesce(clean_text(tweet), '')",
    },
)
FILES = SourceFiles((Layout("twitter100m", ("user", "id", "tweet", "date"), _TWEET, containers=("parquet",), times=("date",)),))
