"""Reddit's dumps: how they are stored, and SQL of the fields that posts and comments share."""

from __future__ import annotations

CONTAINERS = ("ndjson", "ndjson.gz", "zst", "parquet")
TIMES = ("created_utc",)
POST_FIELDS = ("id", "author", "title", "created_utc")
OPTIONAL_POST_FIELDS = ("selftext", "score", "num_comments", "distinguished", "subreddit")
BODY = "CASE WHEN trim(coalesce({0}, '')) IN ('[removed]', '[deleted]') THEN '' ELSE coalesce(clean_text({0}), '') END"
REMOVED = "trim(coalesce({0}, '')) IN ('[removed]', '[deleted]')"
AUTHOR = "'reddit/' || coalesce(nullif(trim(author), ''), '[deleted]')"
POST_ID = "'reddit:t3_' || regexp_replace(id, '^t3_', '')"
SCORE = "TRY_CAST(TRY_CAST(score AS DOUBLE) AS BIGINT)"
