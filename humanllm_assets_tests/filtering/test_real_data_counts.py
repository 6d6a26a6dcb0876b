"""Counts per rule on real files, against a count in plain Python that shares no code with readers and rules.

Needs real data: set HUMANLLM_REAL_DATA to a folder with reddit/, twitter/, blogger/ and amazon/. Nothing of it is quoted here.
"""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from html.entities import html5
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import zstandard

from humanllm_assets.filtering.rules.amazon import amazon_candidates, amazon_core
from humanllm_assets.sources import blogs
from humanllm_assets.sources.files import find_files
from humanllm_assets_tests.whole_slice import apply_rules, read_records
from resources.sources import AmazonRules
from resources.thresholds import Rules

DATA = Path(os.environ.get("HUMANLLM_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    "HUMANLLM_REAL_DATA" not in os.environ, reason="set HUMANLLM_REAL_DATA to the folder of the real data to run this test"
)
ASCII = re.ASCII
ENDS = " \t\n\v\f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NOISE = {*map(chr, (*range(9), *range(14, 32), 127))} | set("\u200b\u2060\u2061\u2062\u2063\u2064\ufeff")
UNSEEN = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\uffa0\ufffc"} | {
    *map(chr, range(0xFE00, 0xFE10))
}


def pipeline(source: str, slices: dict[str, tuple[list[str], list[str]]], rules: Any, tmp_path: Path) -> Counter[str]:
    """What the project counts, over all slices: "kept", "unreadable" and the reasons."""
    con, found = duckdb.connect(config={"threads": 2}), Counter()

    def read(name: str) -> None:
        files, context = slices[name]
        report = read_records(
            con, source, name, find_files(DATA, files), find_files(DATA, context) if context else [], tmp_path / "work"
        )
        found["unreadable"] += report.unreadable

    if source == "amazon":
        for name in slices:
            read(name)
            amazon_candidates(con, rules)
        amazon_core(con, rules)
        found.clear()
    for name in slices:
        read(name)
        found.update(apply_rules(con, source, rules, "core_verdicts"))
        found["kept"] += con.execute("SELECT count(*) FROM kept").fetchall()[0][0]
    con.close()
    return +found


# ---- the same rules once more, one row at a time ---------------------------------------------------------------------


def clean(text: str | None) -> str:
    text = text or ""
    for _ in range(2):
        text = re.sub(
            r"&(#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]\w*);",
            lambda m: html.unescape(m[0]) if m[1][0] == "#" or f"{m[1]};" in html5 else m[0],
            text,
            flags=ASCII,
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c not in NOISE).strip(ENDS)


def readable(text: str, markup: bool = True) -> int:
    """How many characters are read: without what shows nothing, and without Markdown, HTML and addresses."""
    text = "".join(c for c in text if c not in UNSEEN and unicodedata.category(c) != "Cf")
    text = re.sub(r"\s{3,}", "  ", text)
    if not markup:
        return len(text.strip(" "))
    before = text
    text = re.sub(r"<(/?[a-zA-Z]|!--)[^<>\n]*>", "", text)
    text = re.sub(r"\[\[(VIDEO|IMAGE)ID:[^\]]*\]\]|\bLength::?\s*[\d:]+\s*Mins?\b", "", text, flags=ASCII)
    text = re.sub(r"\[\[ASIN:\w+\s*([^\]]*)\]\]", r"\1", text, flags=ASCII)
    text = re.sub(r"!\[[^\[\]]*\](\([^()\n]*\)|\[[^\[\]\n]*\])", "", text)
    text = re.sub(r"(?m)^ {0,3}\[[^\[\]\n]+\]:[ \t]*[^\s]+([ \t]+[\"'(].*)?$", "", text)
    text = re.sub(r"\[([^\[\]]*)\]\(([^()\n]|\([^()\n]*\))*\)", r"\1", text)
    text = re.sub(r"\[([^\[\]\n]+)\]\[[^\[\]\n]*\]", r"\1", text)
    text = re.sub(r"(?i)(https?://|www\.)[^\s<>()\[\]]+(\([^\s()]*\)[^\s<>()\[\]]*)*", "", text)
    return len(text if text == before else re.sub(r"\s{2,}", " ", text).strip(" "))


FLAGS = ("removed_by_category", "removed_by", "banned_by")


def taken_away(raw: dict[str, Any], *fields: str) -> bool:
    """A field holds a placeholder or says that it was overwritten, or a flag of the dump says that it was removed later."""
    gone = [(raw.get(field) or "").strip().lower() for field in fields]
    placeholder = any(re.match(r"\[ ?(removed|deleted)( by .*)?\]$", text, re.DOTALL) for text in gone)
    overwritten = any(re.search(r"anonymized with|overwritten by an? (open|bot|script)", text[:999]) for text in gone)
    meta = raw.get("_meta") or {}
    flagged = any(raw.get(flag) for flag in FLAGS) or meta.get("was_deleted_later") or meta.get("removal_type")
    return bool(placeholder or overwritten or flagged)


def zst_rows(name: str) -> Iterator[dict[str, Any]]:
    with (DATA / name).open("rb") as packed:
        reader = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(packed)
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield json.loads(line)


Row = tuple[str, str, Any, str, str]  # id, user, time, text, first failing rule or ""


def without_duplicates(rows: list[Row], keys: list[tuple[str, Callable[[Row], Any]]]) -> Counter[str]:
    """Counts of the reasons so far, then of the duplicates: the earliest of those that are left stays."""
    found = Counter(row[4] for row in rows if row[4])
    left = sorted((row for row in rows if not row[4]), key=lambda row: row[2])
    for reason, key in keys:
        first: dict[Any, Row] = {}
        for row in left:
            first.setdefault(key(row), row)
        found[reason] += len(left) - len(first)
        left = list(first.values())
    found["kept"] = len(left)
    return +found


BY_ID_AND_TEXT: list[tuple[str, Callable[[Row], Any]]] = [
    ("duplicate_id", lambda row: row[0]),
    ("duplicate_text", lambda row: (row[1], row[3])),
]


def account_problem(author: str | None, distinguished: str | None) -> str:
    name = (author or "[deleted]").lower()
    if name == "[deleted]":
        return "deleted_account"
    if name in ("reddit", "announcements", "[removed]"):
        return "system_account"
    if distinguished in ("moderator", "admin") or name.endswith(("modteam", "_mod", "-mod", "_mods", "-mods")):
        return "moderator"
    return "moderator" if name.startswith(("mod_", "mod-")) else ""


def by_bot(author: str, text: str) -> bool:
    name = author.lower()
    stem = name.rstrip("0123456789")
    by_name = stem.endswith("bot") and not stem.endswith(("abbot", "talbot", "cabot", "turbot", "sabot"))
    as_word = "bot" in re.split(r"[_-]", name) and not stem.endswith(("abbot", "talbot", "cabot", "turbot", "sabot"))
    known = name in ("automoderator", "totesmessenger", "autotldr", "tweetposter", "sub_mentions", "the-paranoid-android")
    said = re.sub(r"[\s*_~^()\[\]\\]+", " ", text.lower()).replace("\u2019", "'")
    made = r"(comment|post|message|reply) was (made|posted|created|generated|sent|written) by a bot\b"
    confessed = re.search(rf"\b(i'?m|i am) an? ((automated|automatic|reddit) )?bot\b|\bbeep\W+boop\b|\b{made}", said)
    return bool(by_name or as_word or known or confessed or "this action was performed automatically" in said)


def count_submissions(name: str) -> Counter[str]:
    rows: list[Row] = []
    for raw in zst_rows(name):
        body = raw.get("selftext")
        removed = taken_away(raw, "selftext", "title")
        text = f"{clean(raw['title'])}\n\n{'' if removed else clean(body)}".rstrip("\n")
        problem = account_problem(raw["author"], raw.get("distinguished"))
        if not problem:
            if raw["score"] is None or raw["score"] < 2:
                problem = "low_score"
            elif raw["num_comments"] is None or raw["num_comments"] < 2:
                problem = "few_comments"
            elif removed:
                problem = "removed_text"
            elif len(text) < 300 or readable(text) < 300:
                problem = "too_short"
            elif by_bot(raw["author"], text):
                problem = "bot"
        rows.append((raw["id"], raw["author"], int(raw["created_utc"]), text, problem))
    return without_duplicates(rows, BY_ID_AND_TEXT)


@pytest.mark.parametrize("name", ["reddit/AskMen_submissions.zst", "reddit/RS_emory_A.zst"])
def test_reddit(name: str, tmp_path: Path) -> None:
    assert pipeline("reddit", {"a": ([name], [])}, Rules().reddit, tmp_path) == count_submissions(name)


@pytest.mark.parametrize("name", ["reddit/RC_emory_A.zst", "reddit/RC_2005-12.zst"])
def test_reddit_comments(name: str, tmp_path: Path) -> None:
    rows: list[Row] = []
    for raw in zst_rows(name):
        removed = taken_away(raw, "body")
        text = "" if removed else clean(raw["body"])
        problem = account_problem(raw["author"], raw.get("distinguished"))
        if not problem:
            if raw["score"] is None or raw["score"] < 1:
                problem = "low_score"
            elif removed:
                problem = "removed_text"
            elif len(text) < 50 or readable(text) < 50:
                problem = "too_short"
            elif by_bot(raw["author"], text):
                problem = "bot"
        rows.append((raw["id"], raw["author"], int(raw["created_utc"]), text, problem))
    found = pipeline("reddit_comments", {"a": ([name], [])}, Rules().reddit_comments, tmp_path)
    assert found == without_duplicates(rows, BY_ID_AND_TEXT)


ORGANISATIONS = [
    "official",
    "news",
    "media",
    "press",
    "magazine",
    "radio",
    "store",
    "shop",
    "outlet",
    "deals",
    "coupon",
    "coupons",
    "jobs",
    "careers",
    "support",
    "helpdesk",
    "foundation",
    "institute",
    "university",
    "ministry",
    "embassy",
    "agency",
    "company",
    "airline",
    "airlines",
    "brands",
]
ADVERTS = [
    *(f"{kind} {code}" for kind in ("promo", "discount", "coupon", "voucher") for code in ("code", "codes")),
    *(
        f"{verb} {when}"
        for verb in ("buy", "order", "shop", "book", "register", "sign up", "subscribe")
        for when in ("now", "today")
    ),
    *(
        "use code",
        "free shipping",
        "link in bio",
        "link in my bio",
        "link in our bio",
        "limited time",
        "limited-time",
        "giveaway",
    ),
    *(
        "pre-order",
        "preorder",
        "click here",
        "click the link",
        "affiliate",
        "airdrop",
        "dm me for",
        "dm us for",
        "dm me to",
        "dm us to",
    ),
]


def says(text: str, phrase: str) -> bool:
    return re.search(rf"(?<![^\W_]){re.escape(phrase)}(?![^\W_])", text.replace("\u2019", "'"), re.IGNORECASE) is not None


def tweet_problem(user: str, text: str) -> str:
    low = text.lower()
    if not text:
        return "empty_text"
    mark = r"""[\s:.,|"“”„«'‘’(\[]*@\w"""
    if re.match(rf"[^\w@#]*((rt|mt|retweet(ed)?)|[♺♻🔁]\ufe0f?){mark}", low):
        return "retweet"
    linked = re.search(r"\b(twitter|x)\.com/(i/web|\w+)/status(es)?/\d", low)
    repeated = re.match(r"""\s*["“”„«]\s*@\w+(\s*:|\s[^"“”»]*["”»])""", low) or re.search(rf"(^|[^\w@#])(rt|qt){mark}", low)
    if linked or repeated or re.search(rf"(^|[^\w@#])MT{mark}", text):
        return "quote_tweet"
    stem = user.rstrip("0123456789").removesuffix("_").rstrip("0123456789")
    named = user.lower().startswith(("official_", "team_")) or any(ends_with_word(stem, word) for word in ORGANISATIONS)
    suffixed = re.search(r"[a-z0-9](HQ|TV|Inc|LLC|Ltd|Corp|Gov)$|_(hq|tv|inc|llc|ltd|corp|gov)$", user)
    owned = [f"our {adjective}{noun}" for adjective in ("", "valued ", "loyal ", "amazing ") for noun in OUR]
    spoken = any(says(text, phrase) for phrase in [*owned, "join our team", "press release", *ANNOUNCED])
    if named or suffixed or spoken:
        return "brand_account"
    offers = re.search(r"\d ?% (off|discount)", low) or re.search(r"#(ad|sponsored|promo)\b", low, ASCII)
    hashtags = len(re.findall(r"#\w+", text))
    if (
        any(says(text, phrase) for phrase in ADVERTS)
        or offers
        or low.count("http://") + low.count("https://") >= 3
        or hashtags >= 8
    ):
        return "advertisement"
    return "too_short" if len(text) < 300 or readable(text, markup=False) < 300 else ""


def ends_with_word(name: str, word: str) -> bool:
    """The word stands apart by its case, an underscore or a digit, or it is the end of no name."""
    if not name.lower().endswith(word):
        return False
    before, end = name[: len(name) - len(word)], name[len(name) - len(word) :]
    apart = not before or before[-1] in "_0123456789" or end == word.title() or (end.isupper() and before[-1].islower())
    return apart or word in CLEAR


CLEAR = {
    "official",
    "magazine",
    "foundation",
    "institute",
    "university",
    "ministry",
    "embassy",
    "airline",
    "airlines",
    "helpdesk",
    "coupon",
}
CLEAR |= {"coupons", "news"}
OUR = [
    *[
        "customer",
        "customers",
        "client",
        "clients",
        "product",
        "products",
        "services",
        "newsletter",
        "stores",
        "brand",
        "showroom",
    ],
    "online store",
]
ANNOUNCED = [
    f"{we} {what}"
    for we in ("we are", "we're")
    for what in (
        "hiring",
        "recruiting",
        *(f"{mood} to announce" for mood in ["proud", "excited", "pleased", "thrilled", "delighted"]),
    )
]


def test_twitter(tmp_path: Path) -> None:
    rows: list[Row] = []
    unreadable = 0
    for path in sorted((DATA / "twitter").glob("*.parquet")):
        for raw in pq.read_table(path).to_pylist():
            try:
                at = datetime.fromisoformat(raw["date"])
            except (TypeError, ValueError):
                unreadable += 1
                continue
            if raw["user"] is None:
                unreadable += 1
                continue
            text = clean(raw["tweet"])
            usable = raw["id"] is not None and not (raw["id"] >= 10**15 and raw["id"] % 10**9 == 0)
            key = str(raw["id"]) if usable else f"{raw['user']}|{at}|{text}"
            rows.append((key, raw["user"], at, text, tweet_problem(raw["user"], text)))
    wanted = without_duplicates(rows, BY_ID_AND_TEXT) + Counter(unreadable=unreadable)
    assert pipeline("twitter", {"a": (["twitter/*.parquet"], [])}, Rules().twitter, tmp_path) == wanted


FIRST_PERSON = {"i", "im", "ive", "me", "my", "mine", "myself", "we", "our", "ours", "ourselves"}


MONTHS = {  # of every name in these files
    month: number
    for number, names in enumerate(
        [
            "january jaanuar", "february", "march", "april aprill abril", "may maio mai mei mayo maj toukokuu",
            "june juuni juni junho junio juin czerwiec", "july juuli juli juillet julio lipiec luglio",
            "august agosto", "september septiembre", "october ottobre", "november", "december",
        ],
        start=1,
    )
    for month in names.split()
}  # fmt: skip
MARKUP = re.compile(r"(?:urlLink|</?[A-Za-z][^<>]*>|&nbsp;?|\s|[\x00-\x1f\x7f-\xa0\xad\u200c-\u200f\u2028-\u202f\u2060])+")


def blog_row(author: str, date: str, text: str) -> Row | None:
    day, month, year = date.strip().split(",")
    if not day or month.lower() not in MONTHS:
        return None
    at = datetime(int(year), MONTHS[month.lower()], int(day))
    text = clean(text)
    problem = (
        "" if any(_is_first_person(word) for word in re.split(r"\W+", re.sub(r"(?i)\bi\.e", " ", text))) else "no_first_person"
    )
    if len(MARKUP.sub(" ", text).strip()) < 300:
        problem = "too_short" if text else "empty_text"
    return f"{author}|{date.strip()}|{text}", author, at, text, problem


def _is_first_person(word: str) -> bool:
    return word.lower() in FIRST_PERSON or word in ("us", "Us")


@pytest.mark.parametrize(("name", "posts", "bloggers"), [("blogtext_A.csv", 14_270, 600), ("blogtext_C.csv.gz", 56_386, 1_500)])
def test_blogger_csv(tmp_path: Path, name: str, posts: int, bloggers: int) -> None:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(DATA / "blogger" / name, "rt", encoding="utf-8", newline="") as handle:
        found = [blog_row(raw["id"], raw["date"], raw["text"]) for raw in csv.DictReader(handle)]
    rows = [row for row in found if row]
    assert (len(found), len({row[1] for row in rows})) == (posts, bloggers)
    wanted = without_duplicates(rows, BY_ID_AND_TEXT) + Counter(unreadable=len(found) - len(rows))
    assert pipeline("blogger", {"a": ([f"blogger/{name}"], [])}, Rules().blogger, tmp_path) == wanted
    assert blogs.count_csv(DATA / "blogger" / name) == posts


def test_blogger_xml(tmp_path: Path) -> None:
    rows: list[Row | None] = []
    for path in sorted((DATA / "blogger/xml").glob("*.xml")):
        data = path.read_bytes().replace(b"\x00", b"")
        try:
            content = data.decode("utf-8")
        except UnicodeDecodeError:
            content = data.decode("cp1252")
        posts = re.findall(r"<date>([^<]*)</date>\s*<post>(.*?)</post>", content, re.DOTALL)
        assert len(posts) == content.count("<date>") == content.count("</post>") == blogs.count_xml(path)
        rows += [blog_row(path.name.partition(".")[0], date, text) for date, text in posts]
    read = [row for row in rows if row]
    wanted = without_duplicates(read, BY_ID_AND_TEXT) + Counter(unreadable=len(rows) - len(read))
    assert pipeline("blogger", {"x": (["blogger/xml/*.xml"], [])}, Rules().blogger, tmp_path) == wanted


def count_reviews(reviews: Iterator[tuple[str, str, Any, str]], rules: AmazonRules) -> Counter[str]:
    """(user, item, time, text) of all slices: lengths, duplicates, then users and items removed one by one."""
    found: Counter[str] = Counter()
    left: list[tuple[str, str, Any, str]] = []
    for review in reviews:
        if len(review[3]) < rules.min_chars or readable(review[3]) < rules.min_chars:
            found["too_short" if review[3] else "empty_text"] += 1
        else:
            left.append(review)
    left.sort(key=lambda review: review[2])
    keys: list[tuple[str, Callable[[tuple[str, str, Any, str]], Any]]] = [
        ("duplicate_user_item", lambda review: review[:2]),
        ("duplicate_user_text", lambda review: (review[0], review[3])),
    ]
    for reason, key in keys:
        first: dict[Any, tuple[str, str, Any, str]] = {}
        for review in left:
            first.setdefault(key(review), review)
        found[reason] += len(left) - len(first)
        left = list(first.values())
    items_of: defaultdict[str, set[str]] = defaultdict(set)
    users_of: defaultdict[str, set[str]] = defaultdict(set)
    for user, item, _, _ in left:
        items_of[user].add(item)
        users_of[item].add(user)
    weak = True
    while weak:
        weak = [u for u, items in items_of.items() if 0 < len(items) < rules.min_user_purchases][:1]
        for user in weak:
            for item in items_of.pop(user):
                users_of[item].discard(user)
        if not weak:
            weak = [i for i, users in users_of.items() if 0 < len(users) < rules.min_item_purchases][:1]
            for item in weak:
                for user in users_of.pop(item):
                    items_of[user].discard(item)
    found["kept"] = sum(map(len, items_of.values()))
    found["outside_core"] = len(left) - found["kept"]
    return +found


# the paper's core empties data sets as small as these, so a smaller one is compared as well
@pytest.mark.parametrize(
    "rules", [AmazonRules(), AmazonRules(min_user_purchases=2, min_item_purchases=2)], ids=["paper", "small"]
)
def test_amazon_2018(rules: AmazonRules, tmp_path: Path) -> None:
    names = ["Gift_Cards", "AMAZON_FASHION"]

    def reviews() -> Iterator[tuple[str, str, Any, str]]:
        for name in names:
            with gzip.open(DATA / f"amazon/2018/{name}_5.json.gz", "rt", encoding="utf-8") as handle:
                for raw in map(json.loads, handle):
                    yield raw["reviewerID"], raw["asin"], int(raw["unixReviewTime"]), clean(raw.get("reviewText"))

    slices = {name: ([f"amazon/2018/{name}_5.json.gz"], ["amazon/2018/meta_Gift_Cards.json.gz"]) for name in names}
    assert pipeline("amazon", slices, rules, tmp_path) == count_reviews(reviews(), rules)


def test_amazon_2023(tmp_path: Path) -> None:
    base, rules = "amazon/2023/raw", AmazonRules(min_user_purchases=5, min_item_purchases=1)
    names = [path.stem for path in sorted((DATA / base / "review_categories").glob("*.jsonl"))][:6]

    def reviews() -> Iterator[tuple[str, str, Any, str]]:
        for name in names:
            with (DATA / base / f"review_categories/{name}.jsonl").open(encoding="utf-8") as handle:
                for raw in map(json.loads, handle):
                    yield raw["user_id"], raw["parent_asin"], int(raw["timestamp"]), clean(raw["text"])

    slices = {n: ([f"{base}/review_categories/{n}.jsonl"], [f"{base}/meta_categories/meta_{n}.jsonl"]) for n in names}
    assert pipeline("amazon", slices, rules, tmp_path) == count_reviews(reviews(), rules)
