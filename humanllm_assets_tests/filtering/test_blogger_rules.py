"""F3: what counts as the first person and as a text, in any script and spelling."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from humanllm_assets_tests.sources.rows import read
from humanllm_assets_tests.whole_slice import apply_rules
from resources.sources import BloggerRules

FILLER = " x" * 150


def reason(folder: Path, text: str) -> str:
    path = folder / "7.male.16.indUnk.Virgo.xml"
    path.write_text(f"<Blog><date>08,July,2004</date><post>{text}</post></Blog>")
    with duckdb.connect(config={"threads": 1}) as con:
        read(con, "blogger", [path])
        counts = apply_rules(con, "blogger", BloggerRules())
    (found,) = [name for name, n in {"kept": 1 - sum(counts.values()), **counts}.items() if n]
    return found


@pytest.mark.parametrize(
    "text",
    [
        *("I", "i", "Im", "I'm", "I\u2019m", "I\u02bcm", "I`m", "I\xb4m", "i\u2019ve", "I.", "I, too", "(I)", "\u201cI\u201d", "\xa0I\xa0", "\u2014I\u2014"),
        *("été: I", "it is I.\n", "So am I. Enough", "my", "MINE", "our\u2019s", "let us", "Us", "we\u2019re", "日本 I 日本"),
    ],
)  # fmt: skip
def test_the_first_person_is_seen(tmp_path: Path, text: str) -> None:
    assert reason(tmp_path, text + FILLER) == "kept"
    assert reason(tmp_path, f"Well{FILLER} {text}") == "kept"


@pytest.mark.parametrize(
    "text",
    [
        *("naïf été, ïm, meñ", "éi, éme, wé", "imágenes", "Deuxième", "même", "i\u0301 me\u0301", "ми́me", "Īus", "usé"),
        *("this, i.e. that", "I.E. that", "The US", "item, mime, ideas", "i_d, x_i, my_x"),
    ],
)  # fmt: skip
def test_a_piece_of_another_word_is_not_the_first_person(tmp_path: Path, text: str) -> None:
    assert reason(tmp_path, text + FILLER) == "no_first_person"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I " + "&nbsp;" * 300, "too_short"),
        ("I " + "&nbsp " * 300, "too_short"),
        ("I " + " " * 300 + "x", "too_short"),
        ("I " + "urlLink " * 50 + "x" * 200, "too_short"),
        ("I " + "<br/>" * 100 + "x" * 200, "too_short"),
        ("I <img src='" + "x" * 300 + "'>", "too_short"),
        ("I " + "\u200c" * 300, "too_short"),
        ("I " + "x" * 297, "too_short"),
        ("I urlLink " + "x" * 298, "kept"),
        ("I &lt; 3 < 4 " + "x" * 300, "kept"),
        (" &nbsp; urlLink \n <br> \xa0 urlLink", "too_short"),
        (" &nbsp; \n &nbsp; ", "empty_text"),
    ],
)
def test_markup_is_no_text(tmp_path: Path, text: str, found: str) -> None:
    assert reason(tmp_path, text) == found
