"""Reddit comments (S5) and, as their context, the posts that they answer."""

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
        "removed": fields.is_gone("body"),
        "withdrawn": fields.is_withdrawn(),
    },
)
# A post that was taken away is no context: its comments then answer a post that is not there.
_TAKEN_AWAY = f"({fields.is_gone('selftext')} OR {fields.is_gone('title')} OR {fields.is_withdrawn()})"
_ANSWERED_POST = Shape(
    "id",
    say_problem(id="id IS NULL"),
    {
        "context_id": fields.POST_ID,
        "context_title": f"CASE WHEN NOT {_TAKEN_AWAY} THEN clean_text(title) END",
        "context_text": f"CASE WHEN NOT {_TAKEN_AWAY} THEN nullif(clean_text(selftext), '') END",
        "context_user_id": fields.AUTHOR,
    },
)
FILES = SourceFiles(
    records=(
        Layout(
            "pushshift",
            ("id", "author", "body", "link_id", "created_utc"),
            _COMMENT,
            ("score", "distinguished", *fields.FLAGS),
            fields.CONTAINERS,
        ),
    ),
    context=(Layout("pushshift", fields.POST_FIELDS, _ANSWERED_POST, fields.OPTIONAL_POST_FIELDS, fields.CONTAINERS),),
)
