"""Q5: a person scores in a browser without any network, closes the page, comes back, and downloads what the command reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from humanllm_assets.commands.human import sheet_html
from humanllm_assets.quality.human_sheet import QUESTIONS_OF, HumanSample, match_scores, read_sheets
from humanllm_assets.quality.judged_items import verdicts
from humanllm_assets_tests.quality.judged_world import JudgedWorld
from humanllm_assets_tests.quality.test_human_sheet import HOSTILE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> JudgedWorld:
    return JudgedWorld(tmp_path_factory.mktemp("world"), text=HOSTILE)


@pytest.fixture(scope="module")
def sample(world: JudgedWorld) -> HumanSample:
    return world.sample(6)


@pytest.fixture
def page(sample: HumanSample, tmp_path: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    sheet = tmp_path / "sheet.html"
    sheet.write_text(sheet_html(sample), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
        context = browser.new_context(offline=True, viewport={"width": 1200, "height": 1000})
        page = context.new_page()
        page.problems = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda e: page.problems.append(str(e)))  # type: ignore[attr-defined]
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
        page.on("request", lambda r: page.problems.append(r.url) if not r.url.startswith(("file:", "blob:")) else None)  # type: ignore[attr-defined]
        page.goto(sheet.as_uri())
        yield page
        browser.close()


def enter_name(page: Any, name: str) -> None:
    page.fill("#annotator", name)
    page.press("#annotator", "Tab")


def chosen(page: Any) -> list[str]:
    return page.eval_on_selector_all("article:not([hidden]) input:checked", "inputs => inputs.map(i => i.value)")


def test_two_items_are_scored_by_keyboard_kept_over_a_reload_and_downloaded(page, world, sample, tmp_path):
    assert page.is_disabled("#download") and page.is_disabled("article:not([hidden]) input >> nth=0")
    enter_name(page, "=ann")
    first, second = (QUESTIONS_OF[item.item_kind] for item in sample.items[:2])
    page.locator("article:not([hidden]) fieldset input").first.focus()
    for n in range(len(first)):
        page.keyboard.press(str((n + 3) % 10))  # 0 stands for 10
    assert chosen(page) == [str((n + 3) % 10 or 10) for n in range(len(first))]
    assert page.inner_text("#done") == "1 of 6 scored"
    page.locator("article:not([hidden]) textarea").fill('=cmd "quoted", ü\nsecond line')
    page.locator("article:not([hidden]) fieldset input").first.focus()
    page.keyboard.press("n")
    assert page.inner_text("#position") == "Item 2 of 6"
    page.keyboard.press("7")
    page.keyboard.press("Backspace")  # clears the question that is marked now, which has no score
    page.reload()
    assert page.input_value("#annotator") == "=ann" and page.inner_text("#done") == "1 of 6 scored"
    assert page.inner_text("#position") == "Item 2 of 6" and chosen(page) == ["7"]
    page.screenshot(path=str(tmp_path / "sheet.png"), full_page=True)
    with page.expect_download() as download:
        page.click("#download")
    file = tmp_path / "scores.csv"
    download.value.save_as(file)

    text = file.read_text(encoding="utf-8-sig")
    assert HOSTILE.format("persona") not in text and '"\'=cmd ""quoted""' in text and '"\'=ann"' in text
    sheets = read_sheets([file], "small")
    assert (sheets.annotators, len(sheets.rows)) == (["=ann"], 6)
    found = match_scores(sheets, verdicts(world.open()), sample.versions)
    scores = {(r["item_id"], r["metric"]): r["score"] for r in found.rows}
    wanted = {(sample.items[0].item_id, q): (n + 3) % 10 or 10 for n, q in enumerate(first)}
    assert scores == {**wanted, (sample.items[1].item_id, second[0]): 7}
    assert page.problems == [] and page.evaluate("window.hacked") is None


def test_another_annotator_on_the_same_machine_sees_no_score(page, sample):
    enter_name(page, "ann")
    page.locator("article:not([hidden]) fieldset input").first.focus()
    page.keyboard.press("9")
    enter_name(page, "bo")
    assert chosen(page) == [] and page.inner_text("#done") == "0 of 6 scored"
    enter_name(page, "ann")
    assert chosen(page) == ["9"]


def test_hostile_texts_are_shown_and_do_nothing(page):
    assert page.evaluate("window.hacked") is None and page.evaluate("document.scripts.length") == 1
    assert "<script>parent.hacked=1</script>" in page.inner_text("article:not([hidden]) .text >> nth=0")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None  # the page's policy: even what were let in could not run
