"""The tables of the graph: every column's name, DuckDB type and meaning, in one place.

The asset pages of the UI show these columns, snapshots are written with them, and a table that deviates from them is an error of
the step that wrote it. Every row carries the ids of the rows it was made from. After a table that names records or users comes what
its rows say about them, in the words of `humanllm audit record`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from humanllm_assets.sql import Table, define_table
from resources.item_kinds import ITEM_KINDS, METRICS, USER_TEXTS, list_kinds
from resources.profile import TASKS
from resources.sources import SOURCES

# Columns that hold texts, which audits leave out: they say which rows there are, and reading texts would take most of their time.
TEXTS = frozenset({
    "text", "title", "context_title", "context_text", "raw", "background", "characters", "plots", "scenario", "question", "answer", "topic",
    "conversations", "options", "fields", "reply", "judge_says",
})  # fmt: skip


@dataclass(frozen=True)
class RowsFound:
    """Some rows of one table, at least one, as an audit found them: without their texts."""

    rows: Sequence[Mapping[str, Any]]

    def count(self, word: str) -> str:
        """How many: `1 sample`, `3 samples`."""
        return f"{len(self.rows):,} {word}{'' if len(self.rows) == 1 else 's'}"

    def list_values(self, column: str) -> str:
        """The values of a column, the most frequent first: `2 train, test`."""
        found = Counter(str(r[column]) for r in self.rows if r[column] is not None)
        return ", ".join(name if k == 1 else f"{k} {name}" for name, k in sorted(found.items(), key=lambda x: (-x[1], x[0])))

    def count_true(self, column: str) -> int:
        """Rows in which the column is true, or holds a text."""
        return sum(bool(r[column]) for r in self.rows)

    def list_numbers(self, column: str) -> str:
        """Numbers in order, a few of them spelled out: `3, 17, 40` or `3, 17, ... 40 (12 in all)`."""
        found = sorted({r[column] for r in self.rows})
        shown = ", ".join(map(str, found[:6]))
        return shown if len(found) <= 6 else f"{shown}, ... {found[-1]} ({len(found):,} in all)"


PHRASES: dict[Table, Callable[[RowsFound], str]] = {}  # filled in this module, each after its table

RECORDS = define_table(
    ("record_id", "VARCHAR", "stable id, unique over all sources, e.g. reddit:t3_abc"),
    ("source", "VARCHAR", f"one of {', '.join(SOURCES)}"),
    ("slice", "VARCHAR", "partition of the source"),
    ("user_id", "VARCHAR", "site and user name, e.g. reddit/alice; comments share the name space of posts"),
    ("created_at", "TIMESTAMP", "UTC"),
    ("title", "VARCHAR", "title of a post or review; null elsewhere"),
    ("text", "VARCHAR", "the user's text"),
    ("n_chars", "INTEGER", "characters of text"),
    ("context_id", "VARCHAR", "post that a comment answers, or item that a review is about"),
    ("context_title", "VARCHAR", "title of the item; the post's stands in its own record"),
    ("context_text", "VARCHAR", "category and description of the item"),
    ("rating", "DOUBLE", "stars, Amazon only"),
)
PHRASES[RECORDS] = lambda found: f"kept {found.count('record')}"
_RECORD_MEASURES = (
    ("repeated_words", "DOUBLE", "share of the runs of four words that stood before in the text (docs/gates.md)"),
    ("prompt_echo", "INTEGER", "words of the longest run that stands in the prompt's own text"),
    ("foreign_share", "DOUBLE", "share of the text in sentences of another language than English"),
    ("assistant_talk", "INTEGER", "phrases by which a chat model speaks of itself or its task"),
    ("markup", "INTEGER", "tags, control characters and other signs that are no writing"),
)
FILTERED = RECORDS + define_table(
    ("original_chars", "INTEGER", "characters before rewriting (F5)"),
    ("quality", "VARCHAR", "label high, medium or low (F6)"),
    ("harmful", "VARCHAR", "label yes or no (F6)"),
    *((name, type, f"F5, beyond what the source has: {says}") for name, type, says in _RECORD_MEASURES),
    ("words_kept", "DOUBLE", "share of the source's words that stand in the text in their order (F5)"),
    ("words_added", "DOUBLE", "share of the text's words that do not come from the source (F5)"),
    ("private_items_left", "INTEGER", "private items of the eligible record that stand in one of its texts in any writing"),
)
PHRASES[FILTERED] = lambda found: f"kept {found.count('record')}, quality {found.list_values('quality')}"
DROPPED = define_table(
    ("record_id", "VARCHAR", "the row that was dropped"),
    ("user_id", "VARCHAR", "its user"),
    ("reason", "VARCHAR", "the first rule that failed"),
)
PHRASES[DROPPED] = lambda found: f"left out: {found.list_values('reason')}"
QUARANTINE = define_table(
    ("file", "VARCHAR", "file name"),
    ("line", "BIGINT", "1-based line, row or post"),
    ("reason", "VARCHAR", "why it could not be read"),
    ("raw", "VARCHAR", "the first 500 characters"),
)
FAILURES = define_table(
    ("item_id", "VARCHAR", "record or item that was asked about"),
    ("prompt", "VARCHAR", "name of the prompt"),
    ("reason", "VARCHAR", "why there is no answer, such as cut_off, invalid or refused:400 (docs/answers.md)"),
    ("raw", "VARCHAR", "the last raw reply, or what the server said instead"),
)
PHRASES[FAILURES] = lambda found: "no valid answer: " + ", ".join(sorted(f"{r['prompt']} ({r['reason']})" for r in found.rows))
RAW_FILES = define_table(
    ("file", "VARCHAR", "name below the source's folder"),
    ("kind", "VARCHAR", "records or context"),
    ("layout", "VARCHAR", "official layout that was recognised"),
    ("bytes", "BIGINT", "size"),
    ("rows", "BIGINT", "rows counted in it, unreadable ones included; null for a context file"),
    ("sha256", "VARCHAR", "content hash"),
)
CORE = define_table(
    (
        "slice",
        "VARCHAR",
        "category of a review that is in the core or is a duplicate; one that is in neither is outside the core",
    ),
    ("row_no", "BIGINT", "the review's row in the category"),
    ("reason", "VARCHAR", "duplicate_user_item or duplicate_user_text; null = it stays"),
)
PROFILES = define_table(
    ("item_id", "VARCHAR", "user and kind, e.g. reddit/alice#persona"),
    ("kind", "VARCHAR", f"one of {list_kinds(USER_TEXTS)}"),
    ("user_id", "VARCHAR", "whom it describes"),
    ("text", "VARCHAR", "the synthesized text"),
    ("n_words", "INTEGER", "words of text"),
    ("record_ids", "VARCHAR[]", "records it was written from, oldest first"),
    ("cutoff_at", "TIMESTAMP", "time of the last of them; task targets are later"),
    ("cut_records", "INTEGER", "oldest records left out by the token limit"),
)
PHRASES[PROFILES] = lambda found: f"{found.count('item')}: {found.list_values('kind')}"
SCENARIOS = define_table(
    ("item_id", "VARCHAR", "record and #scenario"),
    ("record_id", "VARCHAR", "record it was written from"),
    ("user_id", "VARCHAR", "its user"),
    ("created_at", "TIMESTAMP", "time of the record"),
    ("background", "VARCHAR", "time and place"),
    ("characters", "VARCHAR", "who takes part"),
    ("plots", "VARCHAR", "what happens"),
    ("n_words", "INTEGER", "words of the three"),
)
PHRASES[SCENARIOS] = lambda found: found.count("scenario")
SOCIAL_QA = define_table(
    ("item_id", "VARCHAR", "record and #qa number"),
    ("record_id", "VARCHAR", "record it was written from"),
    ("user_id", "VARCHAR", "its user"),
    ("created_at", "TIMESTAMP", "time of the record"),
    ("kind", "VARCHAR", "next_action, mental_state or social_reasoning"),
    ("scenario", "VARCHAR", "the situation, refined so that it does not give the answer away"),
    ("question", "VARCHAR", "question"),
    ("answer", "VARCHAR", "answer"),
)
PHRASES[SOCIAL_QA] = PHRASES[PROFILES]
TOPICS = define_table(
    ("item_id", "VARCHAR", "record and #topic"),
    ("record_id", "VARCHAR", "record that it is the topic of"),
    ("user_id", "VARCHAR", "its user"),
    ("topic", "VARCHAR", "what the record is about, in the synthesizer's words"),
)
PHRASES[TOPICS] = lambda found: found.count("topic")
SCORES = define_table(
    ("item_id", "VARCHAR", "judged item"),
    ("item_kind", "VARCHAR", f"one of {list_kinds(ITEM_KINDS)}"),
    ("user_id", "VARCHAR", "its user"),
    ("record_id", "VARCHAR", "its record; null for items about a user"),
    *((m, "INTEGER", f"{m}, 1-10, higher is better; null where it does not apply or the judge gave no answer") for m in METRICS),
    ("kept", "BOOLEAN", "all applicable metrics above their thresholds (Q3)"),
    ("dropped_by", "VARCHAR", "first failing metric, unanswered, or gate:<name> of an item that no judge was asked about"),
    ("judge_says", "VARCHAR", "what the judge said before it scored; null where it was not asked for one"),
)


def _describe_scores(found: RowsFound) -> str:
    bad = Counter(r["dropped_by"] for r in found.rows if not r["kept"])
    rest = "".join(f", {k} left out by {name}" for name, k in sorted(bad.items()))
    return f"{found.count_true('kept'):,} of {len(found.rows):,} judged items kept{rest}"


PHRASES[SCORES] = _describe_scores
GATE_MEASURES = define_table(
    ("item_id", "VARCHAR", "item"),
    ("item_kind", "VARCHAR", f"one of {list_kinds(ITEM_KINDS)}"),
    ("user_id", "VARCHAR", "its user"),
    ("record_id", "VARCHAR", "its record; null for items about a user"),
    *_RECORD_MEASURES,
    ("repeated_sentences", "INTEGER", "sentences that stood before in the text"),
    ("copied_answer", "DOUBLE", "share of the answer's words copied from the scenario; qa only"),
    ("copied_record", "INTEGER", "words of the longest run that stands in a record; style only"),
    ("unknown_numbers", "INTEGER", "different numbers that no record holds"),
    ("unknown_names", "INTEGER", "different capitalised words that no record holds"),
    ("near_duplicate", "DOUBLE", "likeness to an item before it about the same user or record, 0-1"),
    ("passed", "BOOLEAN", "whether the item goes on to the judge"),
    ("stopped_by", "VARCHAR", "first gate that it did not pass"),
)


def _describe_gates(found: RowsFound) -> str:
    bad = Counter(r["stopped_by"] for r in found.rows if not r["passed"])
    rest = "".join(f", {k} stopped by {name}" for name, k in sorted(bad.items()))
    return f"{found.count_true('passed'):,} of {len(found.rows):,} items passed the gates{rest}"


PHRASES[GATE_MEASURES] = _describe_gates
HUMAN_SCORES = define_table(
    ("annotator", "VARCHAR", "who scored, as the sheet says"),
    ("source", "VARCHAR", "source of the item"),
    ("item_id", "VARCHAR", "scored item"),
    ("item_kind", "VARCHAR", f"one of {list_kinds(ITEM_KINDS)}"),
    ("user_id", "VARCHAR", "its user"),
    ("record_id", "VARCHAR", "its record; null for items about a user"),
    ("metric", "VARCHAR", f"one of {', '.join(METRICS)}, or plausibility, which no judge scores"),
    ("score", "INTEGER", "1-10, higher is better"),
    ("judge_score", "INTEGER", "what the judge gave; null for plausibility"),
    ("kept", "BOOLEAN", "what the judge decided (Q3)"),
)
PHRASES[HUMAN_SCORES] = lambda found: f"{found.count('score')} by people: {found.list_values('item_kind')}"
VERDICT = "verdict"
"""A row of AGREEMENT: whether an item is kept (Q3), by the judge and by the means of the annotators' scores."""
AS_IN_PAPER = "as in the paper"
"""A row of AGREEMENT, the one number of the paper (A.4): hallucination and plausibility together, of kept items, from 1 to 5."""
AGREEMENT = define_table(
    (
        "metric",
        "VARCHAR",
        f"metric of the sheet; `{VERDICT}`: kept or dropped; `{AS_IN_PAPER}`: hallucination and plausibility, 1-5",
    ),
    ("measure", "VARCHAR", "mean, mean_kept, alpha, judge_mean, judge_spearman or same_verdict (docs/human_check.md)"),
    ("annotator", "VARCHAR", "whose mean; null over all"),
    ("value", "DOUBLE", "null = not defined with so few items or so little variation"),
    ("n", "INTEGER", "items behind it"),
)
CALIBRATION_SCORES = define_table(
    ("score_id", "VARCHAR", "item, damage and metric"),
    ("item_id", "VARCHAR", "the item whose copy was judged"),
    ("item_kind", "VARCHAR", f"one of {list_kinds(ITEM_KINDS)}"),
    ("user_id", "VARCHAR", "its user"),
    ("record_id", "VARCHAR", "its record; null for items about a user"),
    (
        "damage",
        "VARCHAR",
        "none (the original), repeat (asked again), newest_first (records in the opposite order), or the damage",
    ),
    ("other_item_id", "VARCHAR", "another item whose text stands in the copy"),
    ("n_chars", "INTEGER", "characters that the judge was shown of it"),
    ("metric", "VARCHAR", f"one of {', '.join(METRICS)}"),
    ("score", "INTEGER", "1-10, higher is better"),
)
PHRASES[CALIBRATION_SCORES] = lambda found: (
    f"{found.count('score')} by which the judge was measured: {found.list_values('damage')}"
)
CALIBRATION_FIGURES = define_table(
    ("figure_id", "VARCHAR", "metric, measure and damage"),
    ("metric", "VARCHAR", f"one of {', '.join(METRICS)}"),
    ("damage", "VARCHAR", "damage that the measure is about; any = all together that the metric is there to notice"),
    ("measure", "VARCHAR", "auc, repeat_agreement, order_bias (points) or length_bias (correlation of score and length)"),
    ("value", "DOUBLE", "value; null where too little was answered"),
    ("low", "DOUBLE", "lower end of the 95% interval"),
    ("high", "DOUBLE", "upper end"),
    ("n", "INTEGER", "items behind it"),
    ("required", "BOOLEAN", "whether it must reach the profile's figure"),
)
APPROVALS = define_table(
    ("role", "VARCHAR", "role of the judge"),
    ("item_kind", "VARCHAR", "kind of item that it scores"),
    ("calibrated", "BOOLEAN", "every required figure reaches what the profile wants"),
    ("says", "VARCHAR", "the same in words; where it is not calibrated, with the worst figure"),
)
SAMPLES = define_table(
    ("sample_id", "VARCHAR", "stable id"),
    ("task", "VARCHAR", f"one of {', '.join(TASKS)}"),
    ("source", "VARCHAR", "source of the user"),
    ("subtask", "VARCHAR", "variant of the task"),
    ("split", "VARCHAR", "train or test, by user"),
    ("user_id", "VARCHAR", "whose sample it is"),
    ("conversations", "VARCHAR", "ShareGPT turns as JSON, no system message"),
    ("target_record_id", "VARCHAR", "record that the answer comes from; null for texts about a user"),
    ("record_ids", "VARCHAR[]", "all records it was made from"),
    ("item_ids", "VARCHAR[]", "all synthesized items it was made from"),
    ("answer", "VARCHAR", "the wanted response"),
    ("options", "VARCHAR", "candidates as JSON, item selection only"),
    ("created_at", "TIMESTAMP", "time of the target"),
    ("fields", "VARCHAR", "template and values of the prompt as JSON, test split only"),
)
PHRASES[SAMPLES] = lambda found: f"{found.count('sample')}: {found.list_values('split')}"
DROPPED_SAMPLES = define_table(
    ("sample_id", "VARCHAR", "sample that could have been made"),
    ("user_id", "VARCHAR", "whose sample it is"),
    ("record_id", "VARCHAR", "its target"),
    ("reason", "VARCHAR", "why it was left out"),
)
PHRASES[DROPPED_SAMPLES] = PHRASES[DROPPED]
CONTAMINATION = define_table(
    ("says", "VARCHAR", "how many items of a held-out set and task leak"),
    ("held_out", "VARCHAR", "test, or the public benchmark"),
    ("task", "VARCHAR", "task or ability"),
    ("items", "INTEGER", "test samples or questions"),
    ("compared", "INTEGER", "those with a text long enough to be compared"),
    ("overlapping", "INTEGER", "those with a text of which some training sample holds n-grams"),
    ("leaking", "INTEGER", "those with a text that leaks (contamination thresholds)"),
    ("leaking_share", "DOUBLE", "leaking / items"),
)
HELD_OUT = define_table(
    ("text_id", "VARCHAR", "item, field and passage"),
    ("held_out", "VARCHAR", "test, or the public benchmark"),
    ("item_id", "VARCHAR", "test sample, or question without its repetitions"),
    ("task", "VARCHAR", "its task or ability"),
    ("source", "VARCHAR", "its source, subset or language"),
    ("user_id", "VARCHAR", "its user, scenario or story"),
    ("field", "VARCHAR", "answer, prompt, options, or the value of the prompt that the text is"),
    ("passage_id", "VARCHAR", "hash of the text's words"),
    ("words", "INTEGER", "its words"),
    ("samples", "INTEGER", "training samples that hold n-grams of it"),
    ("share", "DOUBLE", "highest share of its n-grams that one of them holds"),
    ("longest", "INTEGER", "most words in a row that one of them holds"),
    ("leaks", "BOOLEAN", "one of the two reaches the profile's threshold in one training sample"),
)
PHRASES[HELD_OUT] = lambda found: (
    f"{found.count('held-out text')} that overlap training data, {found.count_true('leaks'):,} leaking"
)
OVERLAPS = define_table(
    ("overlap_id", "VARCHAR", "passage and sample"),
    ("passage_id", "VARCHAR", "held-out text, as in held_out"),
    ("sample_id", "VARCHAR", "sample whose prompt or answer holds n-grams of it"),
    ("split", "VARCHAR", "its split; test only beside public benchmarks"),
    ("task", "VARCHAR", "its task"),
    ("source", "VARCHAR", "its source"),
    ("user_id", "VARCHAR", "its user"),
    ("shared", "INTEGER", "n-grams of the passage that stand in the sample, without stock phrases"),
    ("grams", "INTEGER", "n-grams of the passage"),
    ("share", "DOUBLE", "shared / grams"),
    ("longest", "INTEGER", "most words of the passage in a row whose n-grams all stand in the sample"),
    ("leaks", "BOOLEAN", "a training sample that holds so much of the passage that it leaks"),
)
PHRASES[OVERLAPS] = lambda found: f"{found.count('overlap')} with held-out texts, {found.count_true('leaks'):,} leaking"
CONSUMED = define_table(
    ("position", "BIGINT", "place in the training order, from 0"),
    ("step", "INTEGER", "optimizer step, from 1"),
    ("epoch", "INTEGER", "epoch, from 0"),
    ("rank", "INTEGER", "process that consumed it"),
    ("sample_id", "VARCHAR", "training sample"),
)
PHRASES[CONSUMED] = lambda found: (
    f"consumed {len(found.rows):,} times, epoch {found.list_numbers('epoch')}, step {found.list_numbers('step')}, "
    f"position {found.list_numbers('position')}"
)
TRAINING_METRICS = define_table(
    ("step", "INTEGER", "optimizer step"),
    ("loss", "DOUBLE", "mean next-token loss over response tokens, nats"),
    ("learning_rate", "DOUBLE", "learning rate of the step"),
)
DROPPED_TRAINING = define_table(
    ("sample_id", "VARCHAR", "sample that was not trained"),
    ("reason", "VARCHAR", "too_long, held_out, or what makes its conversation irregular or its template refuse it"),
    ("n_tokens", "INTEGER", "its length"),
)
PHRASES[DROPPED_TRAINING] = PHRASES[DROPPED]
MERGE_CHECK = define_table(
    ("tensor", "VARCHAR", "name"),
    ("elements", "BIGINT", "number of weights"),
    ("max_abs_error", "DOUBLE", "largest difference from the exact weighted mean"),
)
CONTESTANTS = define_table(
    ("contestant", "VARCHAR", "name on the benchmarks"),
    ("kind", "VARCHAR", "base, merged or external"),
    ("model_name", "VARCHAR", "model, or recipe it was made by"),
    ("revision", "VARCHAR", "revision, or data version of the merged model"),
    ("weights", "VARCHAR", "content hash of the weights; null behind an endpoint"),
)
BENCHMARK_ITEMS = define_table(
    ("item_id", "VARCHAR", "stable id of the question and its variant"),
    ("benchmark", "VARCHAR", "benchmark"),
    ("task", "VARCHAR", "task or ability"),
    ("source", "VARCHAR", "source of the user; null for public benchmarks"),
    ("user_id", "VARCHAR", "user; null for public benchmarks"),
    ("distractor_set", "VARCHAR", "catalogue, llm, human or fixed"),
    ("control", "VARCHAR", "none, options_only, no_persona or other_persona"),
    ("prompt", "VARCHAR", "question without its options"),
    ("options", "VARCHAR", "options as JSON: label, text, origin"),
    ("correct", "VARCHAR", "label of the true option"),
    ("sample_id", "VARCHAR", "test sample it was made from"),
    ("record_ids", "VARCHAR[]", "records behind it"),
)
PHRASES[BENCHMARK_ITEMS] = lambda found: f"{found.count('question')}: {found.list_values('control')}"
ANSWERS = define_table(
    ("item_id", "VARCHAR", "question"),
    ("benchmark", "VARCHAR", "benchmark"),
    ("contestant", "VARCHAR", "who answered"),
    ("distractor_set", "VARCHAR", "as in the item"),
    ("control", "VARCHAR", "as in the item"),
    ("reply", "VARCHAR", "reply as it came"),
    ("chosen", "VARCHAR", "label it stands for; null = invalid"),
    ("correct", "VARCHAR", "label of the true option"),
    ("is_correct", "BOOLEAN", "chosen = correct; an invalid reply is wrong"),
    ("rank", "INTEGER", "rank of the true label by log-probability, 1 = best"),
    ("position", "INTEGER", "place of the true option, from 0"),
    ("user_id", "VARCHAR", "user of the question"),
    ("n_options", "INTEGER", "options that were shown"),
)
PHRASES[ANSWERS] = lambda found: f"{found.count('answer')}, {found.count_true('is_correct'):,} right"
APPLICATION_ANSWERS = define_table(
    ("item_id", "VARCHAR", "request and metric"),
    ("benchmark", "VARCHAR", "application"),
    ("contestant", "VARCHAR", "who answered"),
    ("reply", "VARCHAR", "the contestant's text"),
    ("metric", "VARCHAR", "what was judged"),
    ("score", "INTEGER", "1-10; null when the judge gave no answer"),
    ("user_id", "VARCHAR", "user of the request"),
)
PHRASES[APPLICATION_ANSWERS] = lambda found: (
    f"{found.count('judged answer')}: " + ", ".join(f"{r['metric']} {r['score']}" for r in found.rows[:6])
)
SUMMARY = define_table(
    ("benchmark", "VARCHAR", "benchmark"),
    ("contestant", "VARCHAR", "who answered"),
    ("distractor_set", "VARCHAR", "as in the items"),
    ("control", "VARCHAR", "as in the items"),
    ("metric", "VARCHAR", "what is measured"),
    ("value", "DOUBLE", "value"),
    ("low", "DOUBLE", "lower end of the 95% bootstrap interval over users"),
    ("high", "DOUBLE", "upper end"),
    ("n", "INTEGER", "questions"),
)
FUNNEL_RATES = define_table(
    ("rate", "VARCHAR", "source, stage and rule"),
    ("source", "VARCHAR", "source"),
    ("stage", "VARCHAR", "filtering (rules and labels), rules, labels, qc_users, qc_scenarios or qc_social_qa"),
    ("rule", "VARCHAR", "reason of one rule; null for the whole stage"),
    ("entered", "BIGINT", "rows that reached it"),
    ("kept", "BIGINT", "rows that it kept"),
    ("share", "DOUBLE", "kept / entered; null when nothing reached it"),
    ("paper", "DOUBLE", "the paper's share; null where it prints none"),
    ("low", "DOUBLE", "least share of the profile's band; null without one"),
    ("high", "DOUBLE", "highest share of the band"),
)
REPORT_ROWS = define_table(
    ("section", "VARCHAR", "table of the report"),
    ("row", "VARCHAR", "row"),
    ("column", "VARCHAR", "column"),
    ("value", "DOUBLE", "value of this run"),
    ("paper", "DOUBLE", "the paper's value; null where it prints none"),
)


def _list_columns(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in TEXTS)


_BY_COLUMNS = {_list_columns(c.name for c in table): phrase for table, phrase in PHRASES.items()}


def describe_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """What some rows of one table say about a record or user; how many there are, when their columns are no table's of today.

    Args:
        rows: at least one, with all columns of their table or all but the texts.
    """
    found = RowsFound(rows)
    phrase = _BY_COLUMNS.get(_list_columns(rows[0]))
    return phrase(found) if phrase else found.count("row")
