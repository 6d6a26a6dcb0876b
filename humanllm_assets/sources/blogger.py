"""Blog posts (S3): the Blog Authorship Corpus as one CSV or as its original XML files, which `blogs.py` cuts into posts."""

from __future__ import annotations

from humanllm_assets.sources import blogs
from humanllm_assets.sources.layouts import Layout, Shape, SourceFiles
from humanllm_assets.sources.shapes import say_problem

_POST = Shape(
    "id",
    say_problem(date="try_strptime(date, '%d,%B,%Y') IS NULL"),
    {
        "record_id": "'blogger:' || id || ':' || left(sha256(date || '|' || coalesce(clean_text(text), '')), 12)",
        "user_id": "'blogger/' || id",
        "created_at": "TRY_CAST(try_strptime(date, '%d,%B,%Y') AS TIMESTAMP)",
        "text": "coalesce(clean_text(text), '')",
        "age": "TRY_CAST(age AS INTEGER)",
    },
)
FILES = SourceFiles(
    (
        Layout("blogtext", blogs.CSV_COLUMNS, _POST, containers=("csv", "csv.gz"), cutter=blogs.CSV),
        Layout("blog", (), _POST, containers=("xml",), cutter=blogs.XML),
    )
)
