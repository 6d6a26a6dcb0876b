"""Rule filters F1-F4 (section 2.1) as data: per source one ordered list of reasons with the SQL condition that drops a record.

`apply_rules` splits `raw_records` (see `sources/readers.py`) into `kept` and `dropped`. A dropped record is counted by its
first failing rule, in the order of the source's list; a later rule sees only what the earlier ones left. Three kinds, in order:

1. row rules: look at one record. A condition that a NULL leaves undecided drops the record: an unknown score is not a score
   of at least 2, a comment of an unknown author is not one of a known person.
2. duplicates: of the records that are left and share a key, one stays: the earliest, and of equally early ones the one with
   the smaller text key, then the earlier position in the files. First by id, then by user and text.
3. Amazon only, over the whole data set and not per slice: one review per user and item, one per user and text, then the
   k-core. The paper leaves this order open; here it is part of the contract: duplicates never hold up a core.

How Amazon runs over several slices: for every slice `read_records` and `amazon_candidates`, which adds to `candidates`; then
`amazon_core` makes `core_verdicts` from it; then for every slice `read_records` again and
`apply_rules(..., core_table="core_verdicts")`.

Forgotten users (`forgotten`: sha256 of their ids) come before all rules: their records are counted as `forgotten` and leave no row.
What somebody else wrote in answer to a forgotten user stays, without that user's title and text. In Amazon's core a forgotten
user's purchases still count as numbers: without them other users would lose records, and a takedown would change their personas
and ask a model about them.

What belongs here: conditions and their order. What does not: reading files, thresholds (`resources/profile.py`), LLM labels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import duckdb
from pydantic import BaseModel

from humanllm_assets.sources.readers import RECORD_COLUMNS
from resources.sources import AmazonRules, BloggerRules, CommentRules, RedditRules, TwitterRules


@dataclass(frozen=True)
class Rule:
    """`fails`: SQL over `raw_records`, true or NULL for a record to be dropped with `reason`."""

    reason: str
    fails: str


@dataclass(frozen=True)
class Duplicates:
    """Of the records that share `keys` (SQL) one stays."""

    reason: str
    keys: str


def _matches(column: str, pattern: str, options: str = "i") -> str:
    quoted = pattern.replace("'", "''")
    return f"regexp_matches({column}, '{quoted}', '{options}')"


_NAME = "split_part(user_id, '/', 2)"

# ---- Reddit: accounts that are no persons ----------------------------------------------------------------------------

# Bots by name: a name that ends in "bot" (and digits) or has it as a word of its own; not the surnames that end so. A person
# who calls herself "something_robot" is lost too: better that than a bot's text in a persona.
_BOT_NAME = r"bot[0-9]*$|(^|[_-])bot([_-]|$)"
_BOT_SURNAME = r"(abbot|talbot|cabot|turbot|sabot)[0-9]*$"
_KNOWN_BOTS = ("automoderator", "totesmessenger", "autotldr", "tweetposter", "sub_mentions", "the-paranoid-android")
_BOT_TEXT = r"\bi('| a)m a bot\b|this action was performed automatically|\bbeep boop\b"
_MODERATOR_NAME = r"[_-]?modteam$|[_-]mods?$|^mod[_-]"
_SYSTEM_NAMES = ("reddit", "announcements", "[removed]")


def _account_rules() -> list[Rule]:
    known = ", ".join(f"'{name}'" for name in _KNOWN_BOTS)
    system = ", ".join(f"'{name}'" for name in _SYSTEM_NAMES)
    return [
        Rule("deleted_account", f"{_NAME} IN ('[deleted]', '')"),
        Rule("system_account", f"lower({_NAME}) IN ({system})"),
        Rule(
            "bot",
            f"lower({_NAME}) IN ({known}) OR ({_matches(_NAME, _BOT_NAME)} AND NOT {_matches(_NAME, _BOT_SURNAME)})"
            f" OR {_matches('text', _BOT_TEXT)}",
        ),
        Rule("moderator", f"coalesce(distinguished, '') IN ('moderator', 'admin') OR {_matches(_NAME, _MODERATOR_NAME)}"),
    ]


def _reddit(rules: RedditRules) -> list[Rule]:
    low, few = f"score IS NULL OR score < {rules.min_score}", f"num_comments IS NULL OR num_comments < {rules.min_comments}"
    if rules.score_and_comments == "and":
        popularity = [Rule("low_score", low), Rule("few_comments", few)]
    else:
        popularity = [Rule("low_score_and_few_comments", f"({low}) AND ({few})")]
    return [*_account_rules(), Rule("removed_text", "removed"), *popularity, Rule("too_short", f"n_chars < {rules.min_chars}")]


def _reddit_comments(rules: CommentRules) -> list[Rule]:
    return [
        *_account_rules(),
        Rule("removed_text", "removed"),
        Rule("low_score", f"score IS NULL OR score < {rules.min_score}"),
        Rule("too_short", f"n_chars < {rules.min_chars}"),
        Rule("post_not_found", "context_title IS NULL"),
    ]


# ---- Twitter: no flag says what a tweet is, so names and texts have to ------------------------------------------------

_RETWEET = r"^\s*RT @"
# A quote tweet carries a link to the tweet it quotes, or repeats it behind "RT @" or "QT @". Twitter shortens such links to
# t.co, as it does with photos and articles: a link at the end alone proves nothing (`trailing_link_is_quote` drops them all).
_QUOTE = r"(twitter|x)\.com/[A-Za-z0-9_]+/status(es)?/[0-9]+|[^A-Za-z0-9](RT|QT):? @"
_TRAILING_LINK = r"https?://t\.co/[A-Za-z0-9]+\s*$"
# Brand accounts by name: words that organisations end their names with; short ones only where they stand apart.
_BRAND_NAME = (
    r"(official|news|media|press|magazine|radio|store|shop|outlet|deals|coupons?|jobs|careers|support|helpdesk"
    r"|foundation|institute|university|ministry|embassy|agency|company|airlines?|brands?)_?[0-9]*$|^(official|team)_"
)
_BRAND_SUFFIX = r"[a-z0-9](HQ|TV|Inc|LLC|Ltd|Corp|Gov)$|_(hq|tv|inc|llc|ltd|corp|gov)$"  # case counts
_BRAND_TEXT = (
    r"\bour (valued |loyal |amazing )?(customers?|clients?|products|services|online store|newsletter|stores|brand|showroom)\b"
    r"|\bwe('re| are) (hiring|recruiting|(proud|excited|pleased|thrilled|delighted) to announce)\b"
    r"|\bjoin our team\b|\bpress release\b"
)
_AD_TEXT = (
    r"\b(promo|discount|coupon|voucher) codes?\b|\buse code\b|\b(buy|order|shop|book|register|sign up|subscribe) (now|today)\b"
    r"|\bfree shipping\b|\blink in (my |our )?bio\b|\blimited[- ]time\b|\bgiveaway\b|[0-9]{1,2} ?% (off|discount)"
    r"|\bpre-?order\b|\bclick (here|the link)\b|#(ad|sponsored|promo)\b|\baffiliate\b|\bairdrop\b|\bdm (me|us) (for|to)\b"
)
_AD_LINKS = r"(?s)(https?://.*){3}"
_AD_HASHTAGS = r"(?s)(#\w+.*){8}"


def _twitter(rules: TwitterRules) -> list[Rule]:
    brand = f"{_matches(_NAME, _BRAND_NAME)} OR {_matches(_NAME, _BRAND_SUFFIX, 'c')} OR {_matches('text', _BRAND_TEXT)}"
    quote = _matches("text", _QUOTE)
    if rules.trailing_link_is_quote:
        quote += f" OR {_matches('text', _TRAILING_LINK)}"
    return [
        Rule("empty_text", "n_chars = 0"),
        Rule("retweet", _matches("text", _RETWEET, "c")),
        Rule("quote_tweet", quote),
        Rule("brand_account", brand),
        Rule("advertisement", " OR ".join(_matches("text", pattern) for pattern in (_AD_TEXT, _AD_LINKS, _AD_HASHTAGS))),
        Rule("too_short", f"n_chars < {rules.min_chars}"),
    ]


# ---- Blogger and Amazon ----------------------------------------------------------------------------------------------

# "US" in capitals is a country here, not a pronoun; "im" and "ive" are how bloggers write.
_FIRST_PERSON = r"(?i:\b(i|im|ive|me|my|mine|myself|we|our|ours|ourselves)\b)|\b[Uu]s\b"


def _blogger(rules: BloggerRules) -> list[Rule]:
    listed = [Rule("empty_text", "n_chars = 0"), Rule("too_short", f"n_chars < {rules.min_chars}")]
    if rules.first_person:
        listed.append(Rule("no_first_person", f"NOT {_matches('text', _FIRST_PERSON, 'c')}"))
    if rules.min_age:
        listed.append(Rule("too_young", f"age IS NULL OR age < {rules.min_age}"))
    return listed


def _amazon(rules: AmazonRules) -> list[Rule]:
    return [Rule("empty_text", "n_chars = 0"), Rule("too_short", f"n_chars < {rules.min_chars}")]


_BY_ID = Duplicates("duplicate_id", "record_id")
_BY_TEXT = Duplicates("duplicate_text", "user_id, text_key")
_BY_ITEM = Duplicates("duplicate_user_item", "user_id, item_id")
_OUTSIDE_CORE = "outside_core"
FORGOTTEN = "forgotten"
_AMAZON_DUPLICATES = (_BY_ITEM, Duplicates("duplicate_user_text", _BY_TEXT.keys))


def row_rules(source: str, rules: BaseModel) -> list[Rule]:
    """The source's row rules with their thresholds filled in, in the order in which they are counted.

    Args:
        rules: the source's thresholds, such as `profile.thresholds.rules.reddit`.
    """
    if isinstance(rules, RedditRules):
        return _reddit(rules)
    if isinstance(rules, CommentRules):
        return _reddit_comments(rules)
    if isinstance(rules, TwitterRules):
        return _twitter(rules)
    if isinstance(rules, BloggerRules):
        return _blogger(rules)
    if isinstance(rules, AmazonRules):
        return _amazon(rules)
    raise TypeError(f"no rules of source {source} in {type(rules).__name__}; give the source's entry of thresholds.rules")


def reasons(source: str, rules: BaseModel) -> list[str]:
    """Every reason a record of the source can be dropped for, in the order in which they are counted."""
    last = [d.reason for d in _AMAZON_DUPLICATES] + [_OUTSIDE_CORE] if source == "amazon" else [_BY_ID.reason, _BY_TEXT.reason]
    return [rule.reason for rule in row_rules(source, rules)] + last


def is_one_of(column: str, hashes: Collection[str]) -> str:
    """SQL: the sha256 of a column is among these; false for NULL and when there are none."""
    listed = ", ".join(f"'{h}'" for h in sorted(hashes))
    return f"coalesce(sha256({column}) IN ({listed}), false)" if listed else "false"


def first_rules(con: duckdb.DuckDBPyConnection, source: str, rules: BaseModel, forgotten: Collection[str] = ()) -> None:
    """Make the table `verdicts` (slice, row_no, reason): every raw record's first failing row rule, NULL where none fails."""
    cases = f"WHEN {is_one_of('user_id', forgotten)} THEN '{FORGOTTEN}' " if forgotten else ""
    cases += " ".join(f"WHEN coalesce(({rule.fails}), true) THEN '{rule.reason}'" for rule in row_rules(source, rules))
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        SELECT slice, row_no, CAST(CASE {cases} END AS VARCHAR) AS reason FROM raw_records
    """)


def apply_rules(
    con: duckdb.DuckDBPyConnection,
    source: str,
    rules: BaseModel,
    core_table: str | None = None,
    forgotten: Collection[str] = (),
) -> dict[str, int]:
    """Split `raw_records` into `kept` (the columns of `RECORD_COLUMNS`) and `dropped` (record_id, user_id, reason).

    Args:
        rules: the source's thresholds.
        core_table: Amazon only: the table with the columns of `core_verdicts`, made by `amazon_core` from the candidates of all
            slices. None takes this slice for the whole data set.
        forgotten: sha256 of the ids of users to be forgotten. Their records get no row in `dropped`.

    Returns:
        Dropped records by first failing rule, every rule of the source in order, also those that dropped nothing; `forgotten`
        first when anybody is.
        `count(raw_records) = count(kept) + sum(of these)`.
    """
    if source == "amazon":
        _amazon_verdicts(con, rules, core_table, forgotten)
    else:
        first_rules(con, source, rules, forgotten)
        for duplicates in (_BY_ID, _BY_TEXT):
            _drop_duplicates(con, "raw_records", "verdicts", duplicates)
    hidden = is_one_of("context_user_id", forgotten)
    kept = [
        f"CASE WHEN NOT {hidden} THEN {c} END AS {c}" if forgotten and c in ("context_title", "context_text") else c
        for c in RECORD_COLUMNS
    ]
    con.execute(f"""
        CREATE OR REPLACE TABLE kept AS
        SELECT {", ".join(kept)} FROM raw_records SEMI JOIN (FROM verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    con.execute(f"""
        CREATE OR REPLACE TABLE dropped AS
        SELECT record_id, user_id, reason FROM raw_records JOIN verdicts USING (slice, row_no) WHERE reason <> '{FORGOTTEN}'
    """)
    found = dict(con.execute("SELECT reason, count(*) FROM verdicts GROUP BY reason").fetchall())
    con.execute("DROP TABLE verdicts")
    counted = [*([FORGOTTEN] if forgotten else []), *reasons(source, rules)]
    return {reason: found.get(reason, 0) for reason in counted}


def _drop_duplicates(con: duckdb.DuckDBPyConnection, table: str, verdicts: str, duplicates: Duplicates) -> None:
    """Give all but one of the rows of `table` that share a key, and that no rule has dropped yet, a reason in `verdicts`."""
    con.execute(f"""
        UPDATE {verdicts} SET reason = '{duplicates.reason}'
        FROM (
            SELECT slice, row_no FROM {table} JOIN {verdicts} USING (slice, row_no) WHERE reason IS NULL
            QUALIFY row_number() OVER (PARTITION BY {duplicates.keys} ORDER BY created_at, text_key, slice, row_no) > 1
        ) extra
        WHERE {verdicts}.slice = extra.slice AND {verdicts}.row_no = extra.row_no
    """)


# ---- Amazon: rules over the whole data set ---------------------------------------------------------------------------


def _amazon_verdicts(
    con: duckdb.DuckDBPyConnection, rules: BaseModel, core_table: str | None, forgotten: Collection[str]
) -> None:
    if core_table is None:
        con.execute("DROP TABLE IF EXISTS candidates")
        amazon_candidates(con, rules)
        amazon_core(con, rules)
        core_table = "core_verdicts"
    first_rules(con, "amazon", rules, forgotten)
    # a candidate that the core has never seen (the slice changed since) is not in it
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE verdicts AS
        SELECT v.slice, v.row_no, coalesce(v.reason, c.reason, CASE WHEN c.row_no IS NULL THEN '{_OUTSIDE_CORE}' END) AS reason
        FROM verdicts v LEFT JOIN {core_table} c USING (slice, row_no)
    """)


def amazon_candidates(con: duckdb.DuckDBPyConnection, rules: BaseModel) -> int:
    """Add the slice in `raw_records` to the table `candidates`: its reviews that pass the row rules, and what the rules over the
    whole data set need of them.

    Columns: slice, row_no (together the row's key), record_id, user_id, item_id, created_at, text_key. Called once per slice on
    one connection; called again for a slice it replaces that slice's rows.

    Returns:
        Their number over all slices so far.
    """
    first_rules(con, "amazon", rules)
    con.execute("""
        CREATE TABLE IF NOT EXISTS candidates (
            slice VARCHAR, row_no BIGINT, record_id VARCHAR, user_id VARCHAR, item_id VARCHAR, created_at TIMESTAMP,
            text_key UBIGINT)
    """)
    con.execute("DELETE FROM candidates WHERE slice IN (SELECT DISTINCT slice FROM raw_records)")
    con.execute("""
        INSERT INTO candidates SELECT slice, row_no, record_id, user_id, context_id AS item_id, created_at, text_key
        FROM raw_records SEMI JOIN (FROM verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    con.execute("DROP TABLE verdicts")
    return con.execute("SELECT count(*) FROM candidates").fetchall()[0][0]


def amazon_core(con: duckdb.DuckDBPyConnection, rules: BaseModel) -> int:
    """F4 over `candidates` of all slices: duplicates, then the k-core. Makes the table `core_verdicts`.

    `core_verdicts` (slice, row_no, record_id, user_id, reason): one row per candidate; reason NULL = it stays, otherwise
    duplicate_user_item, duplicate_user_text or outside_core.

    Returns:
        Rounds until the k-core was stable.
    """
    if not isinstance(rules, AmazonRules):
        raise TypeError(f"the k-core needs Amazon's rules, not {type(rules).__name__}; give thresholds.rules.amazon")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE duplicate_verdicts AS
        SELECT slice, row_no, CAST(NULL AS VARCHAR) AS reason FROM candidates
    """)
    for duplicates in _AMAZON_DUPLICATES:
        _drop_duplicates(con, "candidates", "duplicate_verdicts", duplicates)
    con.execute("""
        CREATE OR REPLACE TEMP TABLE pairs AS
        SELECT user_id, item_id FROM candidates SEMI JOIN (FROM duplicate_verdicts WHERE reason IS NULL) USING (slice, row_no)
    """)
    rounds = k_core(con, rules.min_user_purchases, rules.min_item_purchases)
    con.execute(f"""
        CREATE OR REPLACE TABLE core_verdicts AS
        SELECT c.slice, c.row_no, c.record_id, c.user_id,
            coalesce(d.reason, CASE WHEN p.user_id IS NULL THEN '{_OUTSIDE_CORE}' END) AS reason
        FROM candidates c JOIN duplicate_verdicts d USING (slice, row_no)
            LEFT JOIN core_pairs p ON p.user_id = c.user_id AND p.item_id = c.item_id
    """)
    con.execute("DROP TABLE duplicate_verdicts")
    return rounds


def k_core(con: duckdb.DuckDBPyConnection, min_user_purchases: int, min_item_purchases: int) -> int:
    """The largest part of `pairs` (user_id, item_id; each pair once) in which every user and every item has enough pairs.

    Makes the table `core_pairs` (user_id, item_id). Items and users are removed in turns until neither removes anything; the
    result does not depend on the order. Ids are numbered first: joins over strings cost more than twice as much.

    Returns:
        Rounds, the last one, which removes nothing, included.
    """
    for table, column in (("core_users", "user_id"), ("core_items", "item_id")):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS "
            f"SELECT {column}, row_number() OVER () AS number FROM (SELECT DISTINCT {column} FROM pairs)"
        )
    con.execute("""
        CREATE OR REPLACE TEMP TABLE edges AS
        SELECT u.number AS u, i.number AS i FROM pairs JOIN core_users u USING (user_id) JOIN core_items i USING (item_id)
    """)
    rounds, before, left = 0, -1, con.execute("SELECT count(*) FROM edges").fetchall()[0][0]
    while left != before:
        rounds, before = rounds + 1, left
        for column, least in (("i", min_item_purchases), ("u", min_user_purchases)):
            con.execute(f"""
                CREATE OR REPLACE TEMP TABLE edges AS SELECT edges.* FROM edges
                SEMI JOIN (SELECT {column} FROM edges GROUP BY {column} HAVING count(*) >= {least}) USING ({column})
            """)
        left = con.execute("SELECT count(*) FROM edges").fetchall()[0][0]
    con.execute("""
        CREATE OR REPLACE TABLE core_pairs AS
        SELECT user_id, item_id FROM edges JOIN core_users ON core_users.number = u JOIN core_items ON core_items.number = i
    """)
    for table in ("core_users", "core_items", "edges"):
        con.execute(f"DROP TABLE {table}")
    return rounds
