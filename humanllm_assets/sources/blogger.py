"""Blog posts (S3): the Blog Authorship Corpus as one CSV or as its original XML files, which `blogs.py` cuts into posts."""

from __future__ import annotations

from humanllm_assets.sources import blogs
from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import say_problem

_POST = Shape(
    "id",
    say_problem(id="NOT regexp_full_match(id, '[0-9]+')", date="day IS NULL"),
    {
        "record_id": "'blogger:' || id || ':' || left(sha256(date || '|' || coalesce(clean_text(text), '')), 12)",
        "user_id": "'blogger/' || id",
        "created_at": "CAST(day AS TIMESTAMP)",
        "text": "coalesce(clean_text(text), '')",
        "age": "TRY_CAST(age AS INTEGER)",
    },
)
FILES = SourceFiles(
    (
        Layout("blogtext", blogs.NEEDED, _POST, containers=("csv", "csv.gz"), cutter=blogs.CSV),
        Layout("blog", (), _POST, containers=("xml",), cutter=blogs.XML),
    )
)
