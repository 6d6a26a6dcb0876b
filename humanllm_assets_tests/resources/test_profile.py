"""Profiles: both shipped ones validate, mistakes are named with their remedy, execution never reaches an identity."""

from __future__ import annotations

import re

import pytest

from humanllm_assets.graph import build_graph
from resources.home import Home
from resources.profile import PROFILES, ProfileError, load_profile, parse_profile, resolve_path
from resources.yaml_text import read_yaml

LOCAL = (PROFILES / "local.yaml").read_text()


@pytest.mark.parametrize("name", ["local", "paper"])
def test_shipped_profiles_validate(name):
    assert load_profile(name).name == name


def test_the_paper_profile_has_the_papers_thresholds():
    t = load_profile("paper").thresholds
    assert (t.rules.reddit.min_score, t.rules.reddit.min_comments, t.rules.reddit.min_chars) == (2, 2, 300)
    assert (t.rules.amazon.min_item_purchases, t.rules.amazon.min_user_purchases, t.rules.amazon.min_chars) == (3, 8, 100)
    assert (t.qc.overall_above, t.qc.metric_above) == (8, 7)
    assert t.labels.keep_quality == ["high"] and t.labels.keep_harmful == ["no"]


def test_an_unknown_key_names_the_nearest_one():
    with pytest.raises(ProfileError, match=r"unknown key `temprature`; did you mean `temperature`"):
        parse_profile(LOCAL.replace("temperature:", "temprature:", 1), "mine.yaml")


def test_an_unknown_model_is_named_with_its_place():
    with pytest.raises(
        ProfileError, match=r"roles\.judge names the model `smollm3`, which is not defined; did you mean `smollm2`"
    ):
        parse_profile(LOCAL.replace("judge: {model: smollm2", "judge: {model: smollm3"), "mine.yaml")


def test_an_unknown_task_of_a_benchmark_names_the_nearest_one():
    old = "<<: *choice, task: social_qa"
    assert old in LOCAL
    with pytest.raises(ProfileError, match=r"benchmarks\.social_qa\.task: `social_q` is no task; did you mean `social_qa`"):
        parse_profile(LOCAL.replace(old, "<<: *choice, task: social_q"), "mine.yaml")


def test_a_slice_of_comments_needs_the_slice_of_its_posts_and_no_file_of_its_own():
    lonely = LOCAL.replace("      askdaily: {files: [askdaily_submissions.ndjson]}\n", "")
    with pytest.raises(
        ProfileError,
        match=r"sources\.reddit_comments\.slices\.askdaily answers the slice `askdaily` of reddit, .* add sources\.reddit\.",
    ):
        parse_profile(lonely, "mine.yaml")
    for old, source in (("RC_askdaily.ndjson", "reddit_comments"), ("shard_0.parquet", "twitter")):
        with pytest.raises(ProfileError, match=rf"sources\.{source}\.slices\..*\.context_files is read by nobody"):
            parse_profile(LOCAL.replace(f"[{old}]", f"[{old}], context_files: [posts.ndjson]"), "mine.yaml")


def test_the_caps_of_a_source_stand_in_place_of_the_general_ones():
    thresholds = load_profile("local").thresholds
    assert thresholds.caps_of("twitter") == thresholds.caps
    assert thresholds.caps_of("reddit_comments") == dict(thresholds.source_caps)["reddit_comments"] != thresholds.caps
    again = type(thresholds).model_validate(thresholds.model_dump())
    assert again.caps_of("reddit_comments") == thresholds.caps_of("reddit_comments")
    with pytest.raises(ProfileError, match="unknown key `reddit_coments`; did you mean `reddit_comments`"):
        parse_profile(LOCAL.replace("    reddit_comments: {max_users", "    reddit_coments: {max_users"), "mine.yaml")


@pytest.mark.parametrize("pattern", ["../secret.ndjson", "/etc/passwd", "a/../../b.ndjson", "", "."])
def test_a_pattern_that_leads_out_of_the_sources_folder_is_refused(pattern):
    text = LOCAL.replace("files: [askdaily_submissions.ndjson]", f"files: ['{pattern}']")
    with pytest.raises(ProfileError, match=r"sources\.reddit\.slices\.askdaily\.files\.0: `.*` leads out of the source's folder"):
        parse_profile(text, "mine.yaml")


def bomb(line: str) -> str:
    return "x0: &x0 {a: 1}\n" + "".join(f"x{n}: &x{n} {line.format(n - 1)}\n" for n in range(1, 40))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("[*x{0}, *x{0}]"), "stands for .* values with its `\\*` references filled in, of 100,000 at most"),
        (bomb("{{<<: [*x{0}, *x{0}]}}"), "stands for .* values"),
        ("x: &x [*x]", "stands for inf values"),
        ("x: " + "[" * 100_000, "is nested too deeply"),
        ("x: " + "{a: " * 5_000 + "1" + "}" * 5_000, "is nested too deeply"),
    ],
)
def test_a_profile_that_unfolds_without_end_is_one_sentence(text, message):
    with pytest.raises(ProfileError, match=f"mine.yaml {message}"):
        parse_profile(text, "mine.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nnotes: b\nname: c", "has the key `name` twice, in lines 1 and 3; remove one of them"),
        ("roles:\n  judge: {model: a, seed: 1, model: b}", "has the key `model` twice, in lines 2 and 2"),
        ("x: [{a: 1, a: 1}]", "has the key `a` twice"),
        ("x: &x {a: 1, a: 2}\ny: *x", "has the key `a` twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, said):
    with pytest.raises(ProfileError, match=f"mine.yaml {said}"):
        parse_profile(text, "mine.yaml")


def test_a_key_may_replace_one_that_is_merged_in():
    assert read_yaml("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}", own=False)["y"] == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("duckdb_memory: lots", "`lots` is no size of memory; write one such as 4GB"),
        ("duckdb_memory: '4'", "`4` is no size of memory"),
        ("duckdb_memory: -1GB", "`-1GB` is no size of memory"),
        ("duckdb_memory: 80%", "`80%` is no size of memory"),
        ("duckdb_memory: 63.9 MB", "63.9 MB is too little for a step; give 64MB or more"),
        ("duckdb_memory: 0.06GiB", None),
        ("duckdb_threads: 0", "greater than or equal to 1"),
        ("max_concurrent: 0", "greater than or equal to 1"),
    ],
)
def test_a_limit_that_no_step_can_work_within_is_one_sentence(setting: str, message: str | None) -> None:
    text = re.sub(r"execution: \{.*\}", f"execution: {{{setting}}}", LOCAL)
    if message is None:
        assert parse_profile(text, "mine.yaml").execution
        return
    with pytest.raises(ProfileError, match=f"execution.{setting.partition(':')[0]}: .*{re.escape(message)}"):
        parse_profile(text, "mine.yaml")


def test_a_missing_profile_lists_the_known_ones():
    with pytest.raises(ProfileError, match="profile `laptop` does not exist .*local, paper"):
        load_profile("laptop")


def test_an_unset_variable_is_named_where_it_is_needed(monkeypatch):
    monkeypatch.delenv("HUMANLLM_DATA", raising=False)
    folder = load_profile("paper").sources["reddit"].folder
    with pytest.raises(ProfileError, match="needs the environment variable HUMANLLM_DATA"):
        resolve_path(folder)


def test_execution_never_enters_identity(tmp_path):
    """Endpoints, concurrency, executors, launchers, memory and paths may differ between two machines with equal results."""
    profile = load_profile("local")
    moved = profile.model_copy(
        update={
            "engine": profile.engine.model_copy(
                update={"concurrency": 3, "port": 5555, "server_args": ["--x"], "price_per_million_input": 9.0}
            ),
            "execution": profile.execution.model_copy(update={"executor": "multiprocess", "duckdb_memory": "1GB"}),
            "launch": {},
            "models": {k: m.model_copy(update={"endpoints": ("http://127.0.0.1:9/v1",)}) for k, m in profile.models.items()},
        }
    )
    here, there = build_graph(profile, Home(tmp_path / "a")), build_graph(moved, Home(tmp_path / "b"))
    for asset, partition in here.all_partitions():
        assert here[asset].own_identity(partition) == there[asset].own_identity(partition)


@pytest.mark.parametrize(
    ("pattern", "new", "asset"),
    [
        (r"overall_above: \d+", "overall_above: 9", "qc_scores"),
        (r"learning_rate: [^,]+", "learning_rate: 1.0e-3", "sft_checkpoint"),
        (r"revision: llm", "revision: other-llm", "user_profiles"),
        (r"max_users_per_slice: \d+", "max_users_per_slice: 99", "filtered_reddit"),
    ],
)
def test_what_decides_the_output_enters_identity(pattern, new, asset, tmp_path):
    changed, found = re.subn(pattern, new, LOCAL, count=1)
    assert found == 1
    before = build_graph(load_profile("local"), Home(tmp_path))
    after = build_graph(parse_profile(changed, "mine.yaml"), Home(tmp_path))
    partition = before[asset].partitions[0]
    assert before[asset].own_identity(partition) != after[asset].own_identity(partition)


def test_a_misspelled_source_is_refused_in_one_sentence():
    with pytest.raises(ProfileError, match=r"sources\.redit\S*: `redit` is no source; did you mean `reddit`\?"):
        parse_profile(LOCAL.replace("\n  reddit:", "\n  redit:", 1), "mine.yaml")
    with pytest.raises(ProfileError, match=r"thresholds\.rules\.amazn: unknown key `amazn`; did you mean `amazon`\?"):
        parse_profile(LOCAL.replace("thresholds:", "thresholds:\n  rules: {amazn: {min_chars: 5}}", 1), "mine.yaml")
    with pytest.raises(
        ProfileError, match=r"thresholds\.rules\.amazon\.min_char: unknown key `min_char`; did you mean `min_chars`"
    ):
        parse_profile(LOCAL.replace("thresholds:", "thresholds:\n  rules: {amazon: {min_char: 5}}", 1), "mine.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "warmup_ratio: 0.1",
            "warmup_ratio: 0.1, scheduler: constant",
            "`scheduler: constant` has no warm-up, so `warmup_ratio: 0.1`",
        ),
        ("warmup_ratio: 0.1", "warmup_ratio: 1.0", "less than 1"),
        ("warmup_ratio: 0.1", "warmup_ratio: 1", "less than 1"),
        ("max_steps: 6", "max_steps: 1", "the only step of `max_steps: 1` would be one of warm-up"),
        ("max_steps: 6", "max_steps: 0", "greater than or equal to 1"),
        ("learning_rate: 5.0e-5", "learning_rate: 0", "greater than 0"),
        ("base_model: smollm2\n", "base_model: smollm2\n    merge_weight: 0\n", "greater than 0"),
        ("held_out: 0.15", "held_out: 1", "less than 1"),
        ("base_model: smollm2\n", "base_model: smollm2\n    tasks: []\n", "at least 1 item"),
        ("base_model: smollm2\n", "base_model: smollm2\n    tasks: [social_qa, social_qa]\n", "`social_qa` is named twice"),
        (
            "base_model: smollm2\n",
            "base_model: smollm2\n    objective: raw_continuation\n    tasks: [social_qa]\n",
            "`tasks` has no effect",
        ),
        (
            "base_model: smollm2\n",
            "base_model: smollm2\n    mix: [{name: a, path: a, revision: '1', share: 0.5}, {name: b, path: b, revision: '1', share: 0.5}]\n",
            "must sum to less than 1",
        ),
        (
            "base_model: smollm2\n",
            "base_model: smollm2\n    mix: [{name: humanllm, path: a, revision: '1', share: 0.5}]\n",
            "distinct names other than humanllm",
        ),
        ("base_model: smollm2\n", "base_model: smollm2\n    mix: [{name: a, path: a, revision: '1', share: 1}]\n", "less than 1"),
        ("processes: 1, micro_batch: 1", "processes: 2, hostfile: hosts", "`processes` has no effect beside `hostfile`"),
        ("cpu: true, threads: 2", "cpu: true, offload_optimizer: true", "`offload_optimizer` has no effect with `cpu: true`"),
        (
            "launch:\n  smollm2:",
            "launch:\n  smolm2:",
            "launch.smolm2 names the model `smolm2`, which is not defined; did you mean `smollm2`",
        ),
        (
            "thresholds:\n",
            "thresholds:\n  tasks: {candidates: 30}\n",
            "options are named by letters, so there can be 2 to 26 of them, not 30",
        ),
    ],
)
def test_a_setting_without_effect_is_refused_in_one_sentence(old, new, message):
    text = re.sub(r"\n  tasks: \{.*\}", "", LOCAL) if "candidates" in new else LOCAL
    assert old in text
    with pytest.raises(ProfileError, match=re.escape(message)):
        parse_profile(text.replace(old, new, 1), "mine.yaml")


def test_a_constant_rate_without_warm_up_is_a_recipe():
    assert parse_profile(LOCAL.replace("warmup_ratio: 0.1", "warmup_ratio: 0, scheduler: constant", 1), "mine.yaml").recipes
