"""Reddit comments (S5), each with the id of the post that it answers."""

from __future__ import annotations

from humanllm_assets.sources import reddit_fields as fields
from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import no_time, say_problem

_COMMENT = Shape(
    "id",
    say_problem(id="id IS NULL", created_utc=no_time("unix_time(created_utc)", fields.OPENED), link_id="link_id IS NULL"),
    {
        "record_id": "'reddit_comments:t1_' || regexp_replace(id, '^t1_', '')",
        "user_id": fields.AUTHOR,
        "created_at": "unix_time(created_utc)",
        "text": fields.body("body"),
        "context_id": "'reddit:t3_' || regexp_replace(link_id, '^t3_', '')",
        "score": fields.SCORE,
        "distinguished": "distinguished",
        "subreddit": "subreddit",
        "removed": fields.is_gone("body"),
        "withdrawn": fields.is_withdrawn(),
    },
)
FILES = SourceFiles(
    records=(
        Layout(
            "pushshift",
            ("id", "author", "body", "link_id", "created_utc"),
            _COMMENT,
            ("score", "distinguished", "subreddit", *fields.FLAGS),
            fields.CONTAINERS,
            times=fields.TIMES,
        ),
    ),
)
