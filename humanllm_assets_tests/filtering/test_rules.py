"""Rules F1-F4: each drops what it names and nothing else, counted by the first rule that fails; in = kept + dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanllm_assets.filtering.rule import reasons
from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core, k_core
from humanllm_assets.sources.readers import RECORD_COLUMNS
from humanllm_assets_tests.sources import rows
from humanllm_assets_tests.sources.rows import read, table, write_lines
from humanllm_assets_tests.whole_slice import apply_rules
from resources.sources import AmazonRules, BloggerRules, CommentRules, RedditRules, TwitterRules


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"threads": 2})
    yield connection
    connection.close()


def verdicts(con: duckdb.DuckDBPyConnection, source: str, rules: Any, core_table: str = "core_verdicts") -> dict[str, str]:
    """Last part of the record id -> reason, or "kept". Checks the law of conservation on the way."""
    counts = apply_rules(con, source, rules, core_table)
    raw, kept, dropped = (table(con, name) for name in ("raw_records", "kept", "dropped"))
    assert len(raw) == len(kept) + len(dropped)
    assert Counter(row["reason"] for row in dropped) == Counter({k: v for k, v in counts.items() if v})
    assert list(counts) == reasons(source, rules)
    assert len({row["record_id"] for row in kept}) == len(kept)
    if kept:
        assert list(kept[0]) == list(RECORD_COLUMNS)
    found = {row["record_id"]: row["reason"] for row in dropped} | {row["record_id"]: "kept" for row in kept}
    return {name.replace("t3_", "").replace("t1_", "").split(":", 1)[1]: reason for name, reason in found.items()}


def test_reddit_rules(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    cases: dict[str, dict[str, Any]] = {
        "kept": {},
        "surname": {"author": "mary_talbot", "selftext": "A " + rows.STORY},
        "talk": {"author": "bottle_robin", "selftext": "B " + rows.STORY},
        "deleted": {"author": "[deleted]"},
        "nobody": {"author": None},
        "automod": {"author": "AutoModerator"},
        "bot1": {"author": "sneakpeekbot"},
        "bot2": {"author": "imgur_bot_12"},
        "bot3": {"author": "Wiki-Bot"},
        "bot4": {"selftext": rows.STORY + " I am a bot, beep"},
        "mod1": {"author": "AskMen-ModTeam"},
        "mod2": {"distinguished": "moderator"},
        "admin": {"distinguished": "admin"},
        "system": {"author": "reddit"},
        "gone1": {"selftext": "[removed]"},
        "gone2": {"selftext": " [deleted] "},
        "low": {"score": 1, "num_comments": 0},
        "unknown": {"score": None},
        "alone": {"num_comments": 1},
        "uncounted": {"num_comments": None},
        "short": {"selftext": "x" * (300 - len("A day") - 3)},
    }
    given_rows = [rows.submission(id=name, **values) for name, values in cases.items()]
    given_rows += [
        rows.submission(id="kept", created_utc=1_600_000_500),
        rows.submission(id="again", created_utc=1_600_000_900),
        rows.submission(id="exact", title="", selftext="y" * 300),
        rows.submission(id="untitled", title="", selftext="z" * 299),
    ]
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", given_rows)])
    assert verdicts(con, "reddit", RedditRules()) == {
        "kept": "kept",
        "surname": "kept",
        "talk": "kept",
        "exact": "kept",
        "deleted": "deleted_account",
        "nobody": "deleted_account",
        "automod": "bot",
        "bot1": "bot",
        "bot2": "bot",
        "bot3": "bot",
        "bot4": "bot",
        "mod1": "moderator",
        "mod2": "moderator",
        "admin": "moderator",
        "system": "system_account",
        "gone1": "removed_text",
        "gone2": "removed_text",
        "low": "low_score",
        "unknown": "low_score",
        "alone": "few_comments",
        "uncounted": "few_comments",
        "short": "too_short",
        "untitled": "too_short",
        "again": "duplicate_text",
    }
    assert apply_rules(con, "reddit", RedditRules())["duplicate_id"] == 1
    loose = verdicts(con, "reddit", RedditRules(score_and_comments="or"))
    assert loose["unknown"] == loose["alone"] == "duplicate_text"  # one of the two counters is enough
    assert loose["low"] == "low_score_and_few_comments"


def test_the_earliest_of_several_copies_stays_whatever_the_order_of_the_file(
    tmp_path: Path, con: duckdb.DuckDBPyConnection
) -> None:
    copies = [rows.submission(id=f"x{i}", created_utc=1_600_000_000 + i) for i in range(5)]
    low_but_early = rows.submission(id="early", created_utc=1_500_000_000, score=0)
    for order in ([*copies, low_but_early], [low_but_early, *reversed(copies)]):
        read(con, "reddit", [write_lines(tmp_path / "a.ndjson", order)])
        found = verdicts(con, "reddit", RedditRules())
        assert [name for name, reason in found.items() if reason == "kept"] == ["x0"]  # a dropped copy holds nothing back


def test_comment_rules(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    cases: dict[str, dict[str, Any]] = {
        "kept": {},
        "low": {"score": 0},
        "unknown": {"score": None},
        "short": {"body": "Same here, my friend, same here!"},
        "removed": {"body": "[removed]"},
        "bot": {"body": "This action was performed automatically. " + rows.STORY},
        "deleted": {"author": "[deleted]"},
    }
    path = write_lines(tmp_path / "RC.ndjson", [rows.comment(id=name, **values) for name, values in cases.items()])
    read(con, "reddit_comments", [path])
    assert verdicts(con, "reddit_comments", CommentRules()) == {
        "kept": "kept",
        "low": "low_score",
        "unknown": "low_score",
        "short": "too_short",
        "removed": "removed_text",
        "bot": "bot",
        "deleted": "deleted_account",
    }


def test_twitter_rules(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    cases: list[tuple[str, dict[str, Any]]] = [
        ("kept", {}),
        ("kept", {"tweet": "RTs are not my thing. Our store of memories is full. " + rows.STORY}),
        ("kept", {"tweet": rows.STORY + " https://t.co/abc1"}),
        ("empty_text", {"tweet": None}),
        ("retweet", {"tweet": "RT @friend: " + rows.STORY}),
        ("quote_tweet", {"tweet": rows.STORY + " https://x.com/friend/status/123"}),
        ("quote_tweet", {"tweet": "So true RT @friend: " + rows.STORY}),
        ("brand_account", {"user": "HarbourNews"}),
        ("brand_account", {"user": "TarnwickHQ"}),
        ("brand_account", {"tweet": "We are hiring! " + rows.STORY}),
        ("advertisement", {"tweet": "Use code SUN for 20% off. " + rows.STORY}),
        ("advertisement", {"tweet": "Everything 20% off. " + rows.STORY}),
        ("advertisement", {"tweet": "http://a.b http://c.d http://e.f " + rows.STORY}),
        ("advertisement", {"tweet": rows.STORY + " #a #b #c #d #e #f #g #h"}),
        ("too_short", {"tweet": "x" * 299}),
        ("duplicate_text", {"date": "2022-01-01T00:00:00+00:00"}),
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([rows.tweet(id=i, **values) for i, (_, values) in enumerate(cases)]), path)
    read(con, "twitter", [path])
    assert verdicts(con, "twitter", TwitterRules()) == {str(i): reason for i, (reason, _) in enumerate(cases)}
    assert verdicts(con, "twitter", TwitterRules(trailing_link_is_quote=True))["2"] == "quote_tweet"


SIGNED = [
    "I am a bot, beep",
    "^I ^am ^a ^bot, ^and ^nobody ^reads ^this.",
    "^^I ^^am ^^a ^^bot",
    "*^I ^am ^a ^bot ^made ^by ^someone*",
    "^(I am a bot)",
    "^(^beep ^boop ^I ^am ^a ^bot)",
    "_I’m a bot_",
    "I`m an automated bot",
    "*beep* *boop*",
    "Beep, boop!",
    "^This ^action ^was ^performed ^automatically",
    "This comment was posted by a bot.",
    "ᴵ ᵃᵐ ᵃ ᵇᵒᵗ",
]
NOT_SIGNED = [
    "I am a bottle collector.",
    "I am a botanist.",
    "Moi, éi am a botanist",
    "The robot says beep and I say boo.",
    "She is a bot, I think.",
]


def test_bots_sign_in_many_spellings(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    texts = {f"{kind}{i}": text for kind, list_ in (("b", SIGNED), ("n", NOT_SIGNED)) for i, text in enumerate(list_)}
    made = [rows.submission(id=name, author=f"u_{name}", selftext=f"{rows.STORY}\n\n{text}") for name, text in texts.items()]
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", made)])
    assert verdicts(con, "reddit", RedditRules()) == {name: "bot" if name[0] == "b" else "kept" for name in texts}


def tweet_verdicts(tmp_path: Path, con: duckdb.DuckDBPyConnection, tweets: Sequence[dict[str, Any]]) -> list[str]:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([rows.tweet(id=i, **values) for i, values in enumerate(tweets)]), path)
    read(con, "twitter", [path])
    found = verdicts(con, "twitter", TwitterRules())
    return [found[str(i)] for i in range(len(tweets))]


RETWEETS = [
    "rt @friend: ",
    "Rt @friend ",
    "RT: @friend ",
    "RT:@friend ",
    "RT@friend ",
    "MT @friend: ",
    "RT “@friend: ",
    ".RT @friend ",
]
RETWEETS += ["♻️ @friend: ", "RT ＠friend ", '"RT @friend: ', "Retweet @friend: "]
QUOTES = [
    "QT @friend: ",
    "“@friend: so true” ",
    '"@friend: so true" ',
    '"@friend so true" ',
    "So true rt @friend: ",
    "Yes! MT @friend ",
]
OWN = [
    "@friend ",
    "via @friend ",
    "HT @friend: ",
    "RT if you agree, ",
    "ART @friend ",
    "Start @friend ",
    "“So true” ",
    "Mt. Everest ",
]


def test_manual_retweets_and_quotes(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    starts = [*RETWEETS, *QUOTES, *OWN]
    found = tweet_verdicts(tmp_path, con, [{"user": f"u{i}", "tweet": f"{s}{i} {rows.STORY}"} for i, s in enumerate(starts)])
    assert found == ["retweet"] * len(RETWEETS) + ["quote_tweet"] * len(QUOTES) + ["kept"] * len(OWN)


PERSONS = [
    "LizBishop",
    "lizbishop",
    "JoBrand",
    "jo_brand",
    "THildebrand",
    "MaraCypress",
    "the_empress",
    "TheRealBishop",
    "mariastore",
]
PERSONS += ["media_mum", "Newsome", "pressley", "AnnaMcMedial", "officialtom", "BISHOP"]
BRANDS = [
    "HarbourShop",
    "Harbour_Shop",
    "harbour_shop",
    "harbour24shop",
    "HarbourSHOP",
    "HarbourNews2",
    "harbournews",
    "Shop",
    "official_harbour",
]
BRANDS += ["HarbourMagazine_", "BBCPress", "HarbourJobs", "harbourfoundation", "team_harbour", "HarbourLtd"]


def test_brands_by_name_and_persons_whose_names_end_so(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    names = [*PERSONS, *BRANDS]
    found = tweet_verdicts(tmp_path, con, [{"user": name, "tweet": f"{name} {rows.STORY}"} for name in names])
    assert dict(zip(names, found, strict=True)) == dict.fromkeys(PERSONS, "kept") | dict.fromkeys(BRANDS, "brand_account")


def test_a_time_before_its_site_is_no_time(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    read(con, "reddit", [write_lines(tmp_path / "a.ndjson", [rows.submission(id="a"), rows.submission(id="b", created_utc=1)])])
    assert [row["reason"] for row in table(con, "quarantine")] == ["no usable created_utc"]
    assert tweet_times(tmp_path, con, ["2006-03-21T20:50:14Z", "1970-01-01T00:00:00Z", "2021-02-24 07:21:17 EST"]) == [1]
    read(con, "amazon", [write_lines(tmp_path / "a.jsonl", [rows.review_2023(timestamp=1)])])
    assert [row["reason"] for row in table(con, "quarantine")] == ["no usable timestamp"]


def tweet_times(tmp_path: Path, con: duckdb.DuckDBPyConnection, times: Sequence[str]) -> list[int]:
    """Lines of the tweets whose times can be used."""
    path = tmp_path / "times.parquet"
    pq.write_table(pa.Table.from_pylist([rows.tweet(id=i, date=at) for i, at in enumerate(times)]), path)
    read(con, "twitter", [path])
    return [row["line"] for row in table(con, "raw_records")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I walked. " + "x " * 150, "kept"),
        ("It was OUR day. " + "x " * 150, "kept"),
        ("So glad im home. " + "x " * 150, "kept"),
        ("They let us in. " + "x " * 150, "kept"),
        ("The US is large, and it is mine-free. " + "x " * 150, "kept"),  # "mine" stands as a word here
        ("The US is large. " + "x " * 150, "no_first_person"),
        ("Sí, éi ñus. " + "x " * 150, "no_first_person"),  # borders of words in any alphabet
        ("I walked.", "too_short"),
        ("", "empty_text"),
    ],
)
def test_blogger_rules(tmp_path: Path, con: duckdb.DuckDBPyConnection, text: str, reason: str) -> None:
    path = tmp_path / "7.male.16.indUnk.Virgo.xml"
    path.write_text(f"<Blog><date>08,July,2004</date><post>{text}</post></Blog>")
    read(con, "blogger", [path])
    assert list(verdicts(con, "blogger", BloggerRules()).values()) == [reason]
    if reason == "kept":
        assert list(verdicts(con, "blogger", BloggerRules(min_age=18)).values()) == ["too_young"]


def naive_core(pairs: set[tuple[int, int]], users: int, items: int) -> set[tuple[int, int]]:
    while True:
        by_user, by_item = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        left = {(u, i) for u, i in pairs if by_user[u] >= users and by_item[i] >= items}
        if left == pairs:
            return pairs
        pairs = left


PAIRS = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60)


@settings(max_examples=25, deadline=None)
@given(PAIRS, st.integers(1, 4), st.integers(1, 4))
def test_k_core_is_the_largest_stable_part(pairs: set[tuple[int, int]], users: int, items: int) -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("CREATE TABLE pairs (u UBIGINT, i UBIGINT)")
        if pairs:
            con.executemany("INSERT INTO pairs VALUES (?, ?)", sorted(pairs))
        k_core(con, users, items)
        assert set(con.execute("FROM core_pairs").fetchall()) == naive_core(pairs, users, items)


def reviews(path: Path, bought: Sequence[tuple[str, str, int]]) -> Path:
    """(user, item, hour): reviews with texts of their own."""
    made = [
        rows.review_2023(
            user_id=user, parent_asin=item, timestamp=1_600_000_000_000 + hour, text=f"{user} {item} {hour}: {rows.STORY}"
        )
        for user, item, hour in bought
    ]
    return write_lines(path, made)


def test_amazon_core_runs_over_all_slices_after_the_duplicates(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    rules = AmazonRules(min_user_purchases=3, min_item_purchases=2)
    a = reviews(
        tmp_path / "a.jsonl",
        [
            ("u1", "i1", 1),
            ("u1", "i1", 0),
            ("u1", "i2", 2),
            ("u2", "i1", 3),
            ("u2", "i2", 4),
            ("u3", "i1", 5),
            ("u3", "i1", 6),
            ("u3", "i2", 7),
        ],
    )
    b = reviews(tmp_path / "b.jsonl", [("u1", "j1", 8), ("u2", "j1", 9), ("u1", "i2", 10), ("u3", "j2", 11)])
    for name, path in (("a", a), ("b", b)):
        read(con, "amazon", [path], slice_name=name)
        amazon_candidates(con, rules)
    assert amazon_core(con, rules) == 3
    read(con, "amazon", [a], slice_name="a")
    # u3 bought three times only if the second review of i1 counted; j2 was bought once, so u3 falls
    assert verdicts(con, "amazon", rules) == {
        "u1:i1": "kept",
        "u1:i2": "kept",
        "u2:i1": "kept",
        "u2:i2": "kept",
        "u3:i1": "outside_core",
        "u3:i2": "outside_core",
    }
    assert [row["created_at"].microsecond for row in table(con, "kept") if row["record_id"] == "amazon:u1:i1"] == [0]
    assert apply_rules(con, "amazon", rules, "core_verdicts") == {
        "empty_text": 0,
        "too_short": 0,
        "duplicate_user_item": 2,
        "duplicate_user_text": 0,
        "outside_core": 2,
    }
    read(con, "amazon", [b], slice_name="b")
    found = verdicts(con, "amazon", rules)
    assert found == {"u1:j1": "kept", "u2:j1": "kept", "u1:i2": "duplicate_user_item", "u3:j2": "outside_core"}


def test_an_amazon_review_copied_to_variants_counts_once(tmp_path: Path, con: duckdb.DuckDBPyConnection) -> None:
    copies = [rows.review_2023(parent_asin=f"v{i}") for i in range(5)] + [rows.review_2023(parent_asin="w", text="short")]
    read(con, "amazon", [write_lines(tmp_path / "a.jsonl", copies)])
    rules = AmazonRules(min_user_purchases=1, min_item_purchases=1)
    amazon_candidates(con, rules)
    amazon_core(con, rules)
    found = verdicts(con, "amazon", rules)
    assert Counter(found.values()) == {"kept": 1, "duplicate_user_text": 4, "too_short": 1}


def test_rules_of_another_source_are_refused(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TypeError, match=r"give thresholds\.rules\.amazon"):
        apply_rules(con, "amazon", RedditRules())
    with pytest.raises(TypeError, match=r"give thresholds\.rules\.amazon"):
        amazon_candidates(con, RedditRules())
