"""How much of the test split and of the public benchmarks stands in the training data, word by word.

Whatever a test sample or a question shows or wants is one passage per text: an answer, a persona, each earlier text, an option. A
passage is compared with whole samples, prompt and answer, by their n-grams of words; a copy with some words changed keeps most of
them, so near-duplicates are found too. What is no text of a person does not count: a template's own words are in no passage, names
of products neither (two users who bought one thing leak nothing), and an n-gram that many users of the training split share is a
stock phrase.

Everything is SQL over hashed n-grams. The samples are read twice and never held: first for which n-grams of the passages occur at
all, then for which samples hold those of the passages that have enough. What is held grows with the held-out texts and with what
they share, not with the training data.

What belongs here: texts, n-grams, counts. What does not: what may be trained on (the contract), scores without what leaks (the report
of the benchmarks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resources.thresholds import Contamination

if TYPE_CHECKING:
    import duckdb

TEST = "test"  # the held-out set of test samples; the others are named after their benchmark

# Values of a prompt that are no text of a person: parts of the template, and names of products.
_NO_TEXTS = "field in ('template', 'kind', 'options')"
_PRODUCTS = "(task = 'item_selection' and field = 'history') or field = 'item'"


def measure_contamination(con: duckdb.DuckDBPyConnection, samples: str, questions: str, limits: Contamination) -> None:
    """Find what passages and samples share; afterwards `overlaps`, `held_out` and `summary` are queries over it.

    Args:
        con: gets temporary macros and tables `contamination_*`.
        samples: table or view of SAMPLES, both splits.
        questions: table or view of BENCHMARK_ITEMS, of public benchmarks: those of our own tasks are made of test samples.
    """
    n = limits.words
    gram = ", ".join(f"w[i + {k}]" for k in range(n))
    # Chinese is written without spaces: each of its characters is a word.
    con.execute(r"create or replace temp macro contamination_words(x) as regexp_extract_all(lower(x), '\p{Han}|[\p{L}\p{N}]+')")
    # Naming every place of an n-gram is linear in the text; a slice per n-gram would copy the text for each.
    con.execute(f"""create or replace temp macro contamination_grams(words) as list_transform(
        [list_transform(words, lambda x: hash(x))], lambda w: list_transform(range(1, len(w) - {n - 2}), lambda i: hash({gram})))[1]""")
    con.execute(f"create or replace temp table contamination_texts as {_select_texts(samples, questions)}")
    con.execute(f"""create or replace temp table contamination_passages as
        select passage_id, bool_or(held_out <> '{TEST}') as public, any_value(n_words) - {n - 1} as grams, contamination_grams(any_value(words)) as list
        from contamination_texts where n_words >= {n + limits.min_shared - 1} group by passage_id""")
    con.execute("alter table contamination_texts drop column words")
    con.execute("""create or replace temp table contamination_held as
        select passage_id, public, unnest(list) as gram, unnest(range(1, grams + 1)) as place from contamination_passages""")
    con.execute("alter table contamination_passages drop column list")
    shown = f"""(select sample_id, split, coalesce(user_id, sample_id) as who,
        unnest(list_distinct(contamination_grams(contamination_words(array_to_string(json_extract_string(conversations, '$[*].value'), ' ')))))
            as gram from {samples})"""
    # Test samples hold passages of the test split by themselves; what they share with public benchmarks is worth knowing.
    con.execute("""create or replace temp table contamination_wanted as
        select distinct gram, 'train' as split from contamination_held
        union all select distinct gram, 'test' from contamination_held where public""")
    con.execute(f"""create or replace temp table contamination_found as
        select gram, split from {shown} semi join contamination_wanted using (gram, split)
        group by all having count(distinct who) <= {limits.stock_users}""")
    con.execute(f"""create or replace temp table contamination_sought as
        with held as (select h.*, split from contamination_held h join contamination_found using (gram) where split = 'train' or public)
        select * from held qualify count(*) over (partition by passage_id, split) >= {limits.min_shared}""")
    con.execute(f"""create or replace temp table contamination_pairs as
        with hits as (
            select passage_id, sample_id, place from {shown} join contamination_sought using (gram, split)
            qualify count(*) over (partition by passage_id, sample_id) >= {limits.min_shared}),
        runs as (
            select passage_id, sample_id, count(*) as grams from (
                select *, place - row_number() over (partition by passage_id, sample_id order by place) as run from hits)
            group by passage_id, sample_id, run)
        select passage_id, sample_id, sum(grams)::integer as shared, (max(grams) + {n - 1})::integer as longest
        from runs group by all""")
    con.execute(f"""create or replace temp table contamination_overlaps as
        select p.passage_id || ' ' || p.sample_id as overlap_id, p.passage_id, p.sample_id, s.split, s.task, s.source, s.user_id,
            p.shared, g.grams, p.shared / g.grams as share, p.longest,
            s.split = 'train' and (p.shared / g.grams >= {limits.min_share} or p.longest >= {limits.min_longest}) as leaks
        from contamination_pairs p join contamination_passages g using (passage_id) join {samples} s using (sample_id)""")


OVERLAPS_QUERY = "select * from contamination_overlaps"

HELD_OUT_QUERY = """
    select t.item_id || ' ' || t.field || ' ' || t.passage_id as text_id, t.* exclude (n_words), t.n_words as words,
        p.samples, p.share, p.longest, p.leaks
    from (select distinct * from contamination_texts) t join (
        select passage_id, count(*)::integer as samples, max(share) as share, max(longest) as longest, bool_or(leaks) as leaks
        from contamination_overlaps where split = 'train' group by passage_id) p using (passage_id)"""

SUMMARY_QUERY = """
    with items as (
        select held_out, task, item_id, bool_or(c.passage_id is not null) as compared, coalesce(bool_or(o.leaks), false) as leaks,
            bool_or(o.passage_id is not null) as is_shared
        from contamination_texts t left join contamination_passages c using (passage_id) left join (
            select passage_id, bool_or(leaks) as leaks from contamination_overlaps where split = 'train' group by passage_id) o
            using (passage_id)
        group by held_out, task, item_id)
    select format('{:,} of {:,} items of {} {}', count(*) filter (leaks), count(*), held_out, task) as says, held_out, task,
        count(*)::integer as items, (count(*) filter (compared))::integer as compared,
        (count(*) filter (is_shared))::integer as overlapping, (count(*) filter (leaks))::integer as leaking,
        (count(*) filter (leaks)) / count(*) as leaking_share
    from items group by held_out, task"""


def _select_texts(samples: str, questions: str) -> str:
    """Every text that is held out, with its words; asks of one question that differ in the order of options are one item.

    The answer to a question with given options is a letter, and its options are products or, on public benchmarks, passages.
    """
    return rf"""
        with test as (select '{TEST}' as held_out, sample_id as item_id, task, source, user_id, answer, options, fields
                      from {samples} where split = 'test'),
        shown as (
            select held_out, item_id, task, source, user_id, regexp_extract(v.fullkey, '^\$\.(\w+)', 1) as field, v.atom ->> '$' as text
            from test, json_tree(test.fields) v where v.type = 'VARCHAR'),
        asked as (
            select distinct benchmark as held_out, split_part(item_id, '#', 1) as item_id, task, source, user_id, prompt,
                list_sort(json_extract_string(options, '$[*].text')) as options
            from {questions}),
        texts as (
            select held_out, item_id, task, source, user_id, 'answer' as field, answer as text from test where options is null
            union all select * from shown where not ({_NO_TEXTS} or {_PRODUCTS})
            union all select held_out, item_id, task, source, user_id, 'prompt', prompt from asked
            union all select held_out, item_id, task, source, user_id, 'options', unnest(options) from asked),
        worded as (select * exclude (text), contamination_words(text) as words from texts)
        select *, len(words)::integer as n_words, left(sha256(array_to_string(words, ' ')), 20) as passage_id
        from worded"""
