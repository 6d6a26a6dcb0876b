"""The tables of the graph: every column's name, DuckDB type and meaning, in one place.

The asset pages of the UI show these columns, snapshots are written with them, and a table that deviates from them is an error
of the step that wrote it. Every row carries the ids of the rows it was made from.
"""

from __future__ import annotations

from humanllm_assets.sql import define_table
from resources.sources import SOURCES

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
    ("context_title", "VARCHAR", "its title"),
    ("context_text", "VARCHAR", "its text: post body, or item category and description"),
    ("rating", "DOUBLE", "stars, Amazon only"),
)
FILTERED = RECORDS + define_table(
    ("original_chars", "INTEGER", "characters before rewriting (F5)"),
    ("quality", "VARCHAR", "label high, medium or low (F6)"),
    ("harmful", "VARCHAR", "label yes or no (F6)"),
)
DROPPED = define_table(
    ("record_id", "VARCHAR", "the row that was dropped"),
    ("user_id", "VARCHAR", "its user"),
    ("reason", "VARCHAR", "the first rule that failed"),
)
QUARANTINE = define_table(
    ("file", "VARCHAR", "file name"),
    ("line", "BIGINT", "1-based line, row or post"),
    ("reason", "VARCHAR", "why it could not be read"),
    ("raw", "VARCHAR", "the first 500 characters"),
)
FAILURES = define_table(
    ("item_id", "VARCHAR", "record or item that was asked about"),
    ("prompt", "VARCHAR", "name of the prompt"),
    ("reason", "VARCHAR", "cut_off, invalid or refused"),
    ("raw", "VARCHAR", "the last raw reply"),
)
RAW_FILES = define_table(
    ("file", "VARCHAR", "name below the source's folder"),
    ("kind", "VARCHAR", "records or context"),
    ("layout", "VARCHAR", "official layout that was recognised"),
    ("bytes", "BIGINT", "size"),
    ("sha256", "VARCHAR", "content hash"),
)
CORE = define_table(
    ("record_id", "VARCHAR", "review that passes the row rules"),
    ("slice", "VARCHAR", "its category"),
    ("row_no", "BIGINT", "its row in the category"),
    ("user_id", "VARCHAR", "its user"),
    ("reason", "VARCHAR", "duplicate_user_item, duplicate_user_text or outside_core; null = it stays"),
)
PROFILES = define_table(
    ("item_id", "VARCHAR", "user and kind, e.g. reddit/alice#persona"),
    ("kind", "VARCHAR", "persona, profile, stories or style (P1-P4)"),
    ("user_id", "VARCHAR", "whom it describes"),
    ("text", "VARCHAR", "the synthesized text"),
    ("n_words", "INTEGER", "words of text"),
    ("record_ids", "VARCHAR[]", "records it was written from, oldest first"),
    ("cutoff_at", "TIMESTAMP", "time of the last of them; task targets are later"),
    ("cut_records", "INTEGER", "oldest records left out by the token limit"),
)
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
METRICS = ("hallucination", "coverage", "conciseness", "relevance", "fidelity", "novelty", "leakage", "overall")
SCORES = define_table(
    ("item_id", "VARCHAR", "judged item"),
    ("item_kind", "VARCHAR", "persona, profile, stories, style, scenario or qa"),
    ("user_id", "VARCHAR", "its user"),
    ("record_id", "VARCHAR", "its record; null for items about a user"),
    *((m, "INTEGER", f"{m}, 1-10, higher is better; null where it does not apply or the judge gave no answer") for m in METRICS),
    ("kept", "BOOLEAN", "all applicable metrics above their thresholds (Q3)"),
    ("dropped_by", "VARCHAR", "first failing metric, or unanswered"),
)
SAMPLES = define_table(
    ("sample_id", "VARCHAR", "stable id"),
    ("task", "VARCHAR", "one of the six tasks"),
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
DROPPED_SAMPLES = define_table(
    ("sample_id", "VARCHAR", "sample that could have been made"),
    ("user_id", "VARCHAR", "whose sample it is"),
    ("record_id", "VARCHAR", "its target"),
    ("reason", "VARCHAR", "why it was left out"),
)
CONSUMED = define_table(
    ("position", "BIGINT", "place in the training order, from 0"),
    ("step", "INTEGER", "optimizer step, from 1"),
    ("epoch", "INTEGER", "epoch, from 0"),
    ("rank", "INTEGER", "process that consumed it"),
    ("sample_id", "VARCHAR", "training sample"),
)
TRAINING_METRICS = define_table(
    ("step", "INTEGER", "optimizer step"),
    ("loss", "DOUBLE", "mean next-token loss over response tokens, nats"),
    ("learning_rate", "DOUBLE", "learning rate of the step"),
)
DROPPED_TRAINING = define_table(
    ("sample_id", "VARCHAR", "sample that was not trained"),
    ("reason", "VARCHAR", "too_long or no_response"),
    ("n_tokens", "INTEGER", "its length"),
)
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
APPLICATION_ANSWERS = define_table(
    ("item_id", "VARCHAR", "request and metric"),
    ("benchmark", "VARCHAR", "application"),
    ("contestant", "VARCHAR", "who answered"),
    ("reply", "VARCHAR", "the contestant's text"),
    ("metric", "VARCHAR", "what was judged"),
    ("score", "INTEGER", "1-10; null when the judge gave no answer"),
    ("user_id", "VARCHAR", "user of the request"),
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
REPORT_ROWS = define_table(
    ("section", "VARCHAR", "table of the report"),
    ("row", "VARCHAR", "row"),
    ("column", "VARCHAR", "column"),
    ("value", "DOUBLE", "value of this run"),
    ("paper", "DOUBLE", "the paper's value; null where it prints none"),
)
