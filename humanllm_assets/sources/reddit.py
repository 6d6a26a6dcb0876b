"""Reddit submissions (S1): monthly dumps of Pushshift and its successors."""

from __future__ import annotations

from humanllm_assets.sources import reddit_fields as fields
from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import no_time, say_problem

_POST = Shape(
    "id",
    say_problem(id="id IS NULL", created_utc=no_time("unix_time(created_utc)", fields.OPENED)),
    {
        "record_id": fields.POST_ID,
        "user_id": fields.AUTHOR,
        "created_at": "unix_time(created_utc)",
        "title": "clean_text(title)",
        "text": f"concat_ws(chr(10) || chr(10), nullif(clean_text(title), ''), nullif({fields.body('selftext')}, ''))",
        "score": fields.SCORE,
        "num_comments": "TRY_CAST(TRY_CAST(num_comments AS DOUBLE) AS BIGINT)",
        "distinguished": "distinguished",
        "subreddit": "subreddit",
        "removed": f"{fields.is_gone('selftext')} OR {fields.is_gone('title')}",
        "withdrawn": fields.is_withdrawn(),
    },
)
FILES = SourceFiles(
    (Layout("pushshift", fields.POST_FIELDS, _POST, fields.OPTIONAL_POST_FIELDS, fields.CONTAINERS, times=fields.TIMES),)
)
