"""What users wrote stays text in the UI."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from humanllm_assets.pages.markdown import escape_markdown

HOSTILE = [
    "![x](http://a.example/p.png)",
    "[press](http://a.example)",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "# title\n\n- list",
    "`code` **bold** _it_ ~~no~~",
    "&lt;b&gt;",
    "\\[x](y)",
    "plain reddit/alice_2",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_shown_as_it_is_and_makes_no_cell_link_picture_or_tag(text: str) -> None:
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = page.parse(f"| user | n |\n|---|---|\n| {escape_markdown(text)} | 1 |")
    cells = [t for t in tokens if t.type == "inline"]
    assert len(cells) == 4
    assert {child.type for child in cells[2].children or ()} <= {"text", "text_special"}
    assert "".join(child.content for child in cells[2].children or ()) == " ".join(text.split())
