"""Q5: a sheet comes back as it was filled in, or is refused by file and line; no text of an item is anything but text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanllm_assets.commands.human import sheet_html
from humanllm_assets.quality.human_sheet import (
    COLUMNS,
    QUESTIONS_OF,
    HumanSample,
    Matched,
    SheetError,
    guard,
    match_scores,
    read_sheets,
    sheet_csv,
    unguard,
)
from humanllm_assets.quality.judged_items import verdicts
from humanllm_assets_tests.quality.judged_world import JudgedWorld

HOSTILE = (
    '{}</div></article><script>parent.hacked=1</script><img src=x onerror="hacked=1">" data-x=\'1\' {{{{7*7}}}} {{% for %}} '
    "</script><!-- --> &amp; \u2028 <svg/onload=hacked=1> javascript:hacked=1"
)
FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", "  =HYPERLINK(1)", "'=1", "|x", "%x")
Cells = dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> JudgedWorld:
    return JudgedWorld(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def sample(world: JudgedWorld) -> HumanSample:
    return world.sample(20)


def rows_of(sample: HumanSample) -> list[Cells]:
    return list(csv.DictReader(io.StringIO(sheet_csv(sample).removeprefix("\ufeff"), newline="")))


def fill(sample: HumanSample, annotator: str, score: Callable[[int, str], str] = lambda n, q: str(n % 10 + 1)) -> list[Cells]:
    rows = rows_of(sample)
    for n, row in enumerate(rows):
        row["annotator"] = annotator
        row |= {q: score(n, q) for q in QUESTIONS_OF[row["kind"]]}
    return rows


def save(path: Path, rows: list[Cells], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as f:
        writer = csv.DictWriter(f, rows[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def match(world: JudgedWorld, sample: HumanSample, *files: Path) -> Matched:
    return match_scores(read_sheets(files, "small"), verdicts(world.open()), sample.versions)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")])
def test_a_sheet_comes_back_as_it_was_filled_in(world, sample, tmp_path, delimiter, encoding) -> None:
    files = [save(tmp_path / f"{who}.csv", fill(sample, who), delimiter, encoding) for who in ("ann", "bo")]
    found = match(world, sample, *files)
    asked = sum(len(QUESTIONS_OF[i.item_kind]) for i in sample.items)
    assert len(found.rows) == 2 * asked and found.outdated == 0 and found.missing == {"ann": 0, "bo": 0}
    place = {item.item_id: n for n, item in enumerate(sample.items)}
    assert all(r["score"] == place[r["item_id"]] % 10 + 1 for r in found.rows)
    judged = verdicts(world.open())
    assert all(r["judge_score"] == judged[r["item_id"]].get(r["metric"]) for r in found.rows)
    assert {r["judge_score"] for r in found.rows if r["metric"] == "plausibility"} == {None}


def test_the_sheet_shows_no_score_and_no_verdict_of_the_judge(sample) -> None:
    for row in rows_of(sample):
        assert {row[q] for q in QUESTIONS_OF[row["kind"]]} == {""}
    assert "kept" not in COLUMNS and "dropped" not in sheet_html(sample) and "kept" not in sheet_csv(sample).partition("\n")[0]


def test_missing_scores_are_counted_and_spreadsheets_numbers_read(world, sample, tmp_path) -> None:
    rows = fill(sample, "ann", lambda n, q: "" if n < 3 else "8.0" if n == 3 else " 10 ")
    del rows[-1]
    found = match(world, sample, save(tmp_path / "a.csv", rows))
    assert found.missing["ann"] == sum(len(QUESTIONS_OF[r["kind"]]) for r in rows[:3])
    assert {r["score"] for r in found.rows} == {8, 10}


def put(column: str, value: str) -> Callable[[list[Cells]], object]:
    return lambda rows: rows[4].update({column: value})


REFUSED = {
    "out of range": (put("overall", "11"), "line 6 scores overall with `11`; write a whole number from 1 to 10"),
    "zero": (put("overall", "0"), "line 6 scores overall with `0`"),
    "half": (put("plausibility", "7.5"), "line 6 scores plausibility with `7.5`"),
    "word": (put("overall", "good"), "line 6 scores overall with `good`"),
    "true": (put("overall", "TRUE"), "line 6 scores overall with `TRUE`"),
    "another sample": (put("sample", "0000"), "line 6 is of another sample than the first row"),
    "other versions": (put("versions", "reddit=x"), "line 6 is of another sample than the first row"),
    "another profile": (put("profile", "paper"), "line 6 is of a sample of the profile `paper`, not of `small`"),
    "nobody": (put("annotator", " "), "line 6 names no annotator"),
    "no item": (put("item_id", ""), "line 6 has no item_id"),
    "unknown item": (put("item_id", "reddit/nobody#persona"), "line 6 names the item reddit/nobody#persona"),
    "another text": (put("text_version", "0123456789abcdef"), "line 6 names the item"),
    "twice": (lambda rows: rows.append(dict(rows[2])), "line 22 scores .* a second time for `ann` \\(the first is .*, line 4\\)"),
    "no rows": (
        lambda rows: rows.__delitem__(slice(1, None)) or rows[0].update(dict.fromkeys(rows[0], "")),
        "holds no scored row",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_sheet_that_cannot_be_used_is_refused_by_file_and_line(world, sample, tmp_path, name) -> None:
    spoil, sentence = REFUSED[name]
    rows = [{k: v for k, v in row.items() if k not in ("item", "records")} for row in fill(sample, "ann")]
    spoil(rows)
    with pytest.raises(SheetError, match=sentence) as error:
        match(world, sample, save(tmp_path / "ann.csv", rows))
    assert str(tmp_path / "ann.csv") in str(error.value) and "\n" not in str(error.value)


def test_a_question_that_is_not_asked_of_a_kind_has_no_score(world, sample, tmp_path) -> None:
    rows = fill(sample, "ann")
    next(r for r in rows if r["kind"] == "style")["leakage"] = "3"
    with pytest.raises(SheetError, match=r"scores leakage, which is not asked of a style; clear that cell or write n/a"):
        match(world, sample, save(tmp_path / "a.csv", rows))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"", "line 1 has the columns"),
        (b"annotator,sample\n", "line 1 has the columns"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_sheet_is_refused(tmp_path, content, sentence) -> None:
    file = tmp_path / "a.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SheetError, match=sentence):
        read_sheets([file], "small")


def test_a_torn_row_is_refused(sample, tmp_path) -> None:
    file = save(tmp_path / "a.csv", fill(sample, "ann"))
    file.write_text(file.read_text() + "ann,short\n")
    with pytest.raises(SheetError, match=r"line \d+ has 2 cells where the first line has"):
        read_sheets([file], "small")
    file.write_text(file.read_text() + '"never closed')
    with pytest.raises(SheetError, match="line"):
        read_sheets([file], "small")


def test_sheets_of_two_samples_do_not_mix(world, sample, tmp_path) -> None:
    other = world.sample(20, seed=2)
    files = [save(tmp_path / "a.csv", fill(sample, "ann")), save(tmp_path / "b.csv", fill(other, "bo"))]
    with pytest.raises(SheetError, match=r"b.csv, line 2 is of another sample"):
        read_sheets(files, "small")


def test_scores_outlive_the_judge_but_not_their_text(world, sample, tmp_path) -> None:
    """After a new judge the same sheet is compared with what it says now; after a new text the scores are counted as outdated."""
    sheets = read_sheets([save(tmp_path / "a.csv", fill(sample, "ann"))], "small")
    known = verdicts(world.open())
    newer = {source: "newer" for source in sample.versions}
    stricter = {item: {**v, "kept": False} for item, v in known.items()}
    assert {r["kept"] for r in match_scores(sheets, stricter, newer).rows} == {False}
    rewritten = {item: {**v, "text_version": "x"} if v["item_kind"] == "qa" else v for item, v in known.items()}
    found = match_scores(sheets, rewritten, newer)
    n_qa = sum(i.item_kind == "qa" for i in sample.items)
    assert found.outdated == n_qa * len(QUESTIONS_OF["qa"]) > 0 and "qa" not in {r["item_kind"] for r in found.rows}
    assert match_scores(sheets, {}, newer).rows == []


# ---- hostile texts ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=12) | st.sampled_from(FORMULAS).flatmap(lambda f: st.text(max_size=3).map(lambda t: f + t)))
def test_no_cell_is_a_formula_and_every_cell_comes_back(text: str) -> None:
    guarded = guard(text)
    assert unguard(guarded) == text
    assert guarded.lstrip()[:1] not in ("=", "+", "-", "@", "|", "%") and guarded[:1] not in ("\t", "\r", "\n")


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_text_of_an_item_is_a_formula(tmp_path, formula) -> None:
    for row in rows_of(JudgedWorld(tmp_path, users=2, text=formula.replace("{", "") + " {}").sample(20)):
        assert all(not cell.lstrip().startswith(("=", "+", "-", "@", "|", "%")) for cell in row.values())


def test_a_text_longer_than_a_spreadsheets_cell_is_shortened_and_says_so(tmp_path) -> None:
    sample = JudgedWorld(tmp_path, users=2, text="{}" + "long " * 10_000).sample(20)
    assert all(len(row["item"]) < 32_000 and "the rest is in sheet.html" in row["item"] for row in rows_of(sample))
    assert "long " * 10_000 in sheet_html(sample)


class _Page(HTMLParser):
    """Tags, attribute names and texts of a page as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[dict[str, str]] = []
        self.texts = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.cells += [json.loads(value or "") for name, value in attrs if name == "data-cells"]

    def handle_data(self, data: str) -> None:
        self.texts += data


def test_a_hostile_text_is_text_and_adds_nothing_to_the_page(tmp_path) -> None:
    calm = _Page(sheet_html(JudgedWorld(tmp_path / "calm").sample(20)))
    html = sheet_html(JudgedWorld(tmp_path / "hostile", text=HOSTILE).sample(20))
    hostile = _Page(html)
    assert hostile.tags == calm.tags and hostile.attributes == calm.attributes
    assert hostile.tags.count("script") == 1 and not {"img", "svg", "link", "iframe"} & set(hostile.tags)
    assert HOSTILE.format("persona") in hostile.texts
    assert "default-src 'none'" in html and "script-src 'sha256-" in html and "http:" not in html and "https:" not in html


def test_a_hostile_item_id_stays_in_its_attribute(sample) -> None:
    wicked = '"><script>x</script>'
    items = [item._replace(item_id=item.item_id + wicked) for item in sample.items]
    page = _Page(sheet_html(HumanSample(wicked, sample.profile, 1, sample.versions, items)))
    assert page.tags == _Page(sheet_html(sample)).tags
    assert [c["item_id"] for c in page.cells if "item_id" in c] == [i.item_id for i in items]


def test_the_sheet_says_what_it_was_drawn_from(sample) -> None:
    texts = _Page(sheet_html(sample)).texts
    for fact in (sample.id, "small", "/a/home", "version-reddit", "version-twitter"):
        assert fact in texts
    row = rows_of(sample)[0]
    assert (row["sample"], row["profile"], row["seed"], row["home"]) == (sample.id, "small", "1", "/a/home")
    assert row["versions"] == "reddit=version-reddit twitter=version-twitter" and row["items"] == "20"
