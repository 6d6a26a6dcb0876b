"""Write the embedded sample: invented people's everyday stories in the sources' official file layouts, with their quirks.

Run it with `python resources/sample/write_sample.py`. The same code and library versions give the same bytes; the written files
are committed, so nothing has to be generated to use them. Every quirk that real files have (see README.md beside this script)
is planted here on purpose, and `expected_counts.yaml` says what the readers and rules must make of it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import texts

HERE = Path(__file__).resolve().parent
WINDOW_LOG = 31  # as in official Pushshift dumps
VOICES = list(texts.VOICES)
PEOPLE = 14  # who write enough to survive all rules, per source
BYSTANDERS = 14  # who write once or twice
LONE_SURROGATE = "\ud83d"


@dataclass(frozen=True)
class Story:
    kind: str  # job, hobby or event
    title: str
    what: str
    outcome: str


@dataclass
class Person:
    name: str
    number: int
    age: int
    voice: str
    job: tuple[str, str, list[tuple[str, str, str]]]
    hobby: tuple[str, str, list[tuple[str, str, str]]]
    slots: dict[str, str]
    rng: random.Random
    said: dict[str, int] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        text = text.format(**self.slots)
        return text[0].upper() + text[1:]

    def say(self, what: str) -> str:
        """The next sentence of this voice, in turns, so that a person repeats herself as late as possible."""
        lines = texts.VOICES[self.voice][what]
        turn = self.said.get(what, self.number)
        self.said[what] = turn + 1
        return lines[turn % len(lines)]

    def stories(self, events: int) -> list[Story]:
        chosen = [texts.EVENTS[(self.number * 5 + i * 3) % len(texts.EVENTS)] for i in range(events)]
        found = [Story(kind, *map(self.fill, parts)) for kind, items in self._own(chosen) for parts in items]
        self.rng.shuffle(found)
        return found

    def _own(self, events: list[tuple[str, str, str]]) -> list[tuple[str, list[tuple[str, str, str]]]]:
        return [("job", self.job[2]), ("hobby", self.hobby[2]), ("event", events)]


def people(names: Sequence[str], group: int) -> list[Person]:
    """Invented persons; each has a job, hobby, town and family of her own within the group."""
    found = []
    for i, name in enumerate(names):
        n = i + group * 31
        job, hobby = texts.JOBS[(n * 3 + group) % len(texts.JOBS)], texts.HOBBIES[(n * 5 + group * 2) % len(texts.HOBBIES)]
        slots = {
            "job": job[0],
            "hobby": hobby[0],
            "town": texts.TOWNS[n % len(texts.TOWNS)],
            "partner": texts.PARTNERS[(n * 9 + group) % len(texts.PARTNERS)],
            "family": texts.FAMILY[(n * 11 + group) % len(texts.FAMILY)],
            "friend": texts.FRIENDS[(n * 13 + group) % len(texts.FRIENDS)],
            "pet": texts.PETS[(n * 3 + 2 * group) % len(texts.PETS)],
        }
        found.append(
            Person(name, i, 23 + (n * 7) % 30, VOICES[n % len(VOICES)], job, hobby, slots, random.Random(f"{group}/{name}"))
        )
    return found


def introduction(person: Person) -> str:
    return person.fill("I work as a {job} in {town}.")


def compose(person: Person, story: Story, low: int, high: int) -> str:
    """What happened, how it felt, why, and how it came out, in a length between the limits."""
    feeling, reason = person.say("feelings"), person.say("reasons")
    closing, question = person.say("closings"), person.say("questions")
    options = [feeling, reason, story.outcome, closing, question]
    order = [story.what, feeling, reason, story.outcome, closing, question]
    fits = []
    for size in range(len(options), -1, -1):
        for chosen in itertools.combinations(options, size):
            text = " ".join(part for part in order if part == story.what or part in chosen)
            if low <= len(text) <= high:
                fits.append((story.outcome in chosen, feeling in chosen, size, text))
    if fits:
        return max(fits)[3]
    text = " ".join([introduction(person), *order])
    if not low <= len(text) <= high:
        raise ValueError(f"no text of {low} to {high} characters for {person.name}: {story.title} ({len(text)})")
    return text


def times(rng: random.Random, first: datetime, last: datetime, count: int) -> list[datetime]:
    seconds = int((last - first).total_seconds())
    return [first + timedelta(seconds=s) for s in sorted(rng.sample(range(seconds), count))]


# ---- writing files ---------------------------------------------------------------------------------------------------


def json_lines(rows: Sequence[Any]) -> bytes:
    """Rows as lines; a row given as bytes goes in as it is. A lone surrogate is written as its escape, as in real dumps."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode("ascii")) + b"\n" for row in rows)


def write(path: str, data: bytes) -> None:
    """Write a file, packed as its name says."""
    target = HERE / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    elif path.endswith(".zst"):
        import zstandard

        settings = zstandard.ZstdCompressionParameters.from_level(10, window_log=WINDOW_LOG, enable_ldm=False)
        packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()  # a stream: its size is not written
        data = packer.compress(data) + packer.flush()
    target.write_bytes(data)


# ---- Reddit ----------------------------------------------------------------------------------------------------------

REDDIT_NAMES = [
    "quietlamp_47",
    "marigold_fields",
    "tinroofsinger",
    "old_gravel_road",
    "paperboat_nine",
    "threecoatsofpaint",
    "umbrella_thief",
    "slow_kettle",
    "borrowed_ladder",
    "fogbell",
    "late_train_home",
    "woolsocks88",
    "pocket_of_seeds",
    "second_left_turn",
    "hatstand_hero",
    "plumcrumble",
    "windowseat_12",
    "ferry_pass",
    "leftover_stew",
    "mossy_step",
    "candle_end",
    "sundaypaper",
    "nettle_tea",
    "shortcut_taker",
    "lone_mitten",
    "bellpepper_sky",
    "driftwood_dan",
    "corner_table",
]
SUBREDDITS = ("askdaily", "smalltownlife")


def post(number: int, subreddit: str, author: str, at: datetime, title: str, body: str, **other: Any) -> dict[str, Any]:
    base = {
        "id": f"h{number:04x}",
        "author": author,
        "subreddit": subreddit,
        "title": title,
        "selftext": body,
        "created_utc": int(at.timestamp()),
        "score": 3 + number % 40,
        "num_comments": 2 + number % 9,
        "distinguished": None,
        "is_self": True,
        "over_18": False,
        "stickied": False,
        "permalink": f"/r/{subreddit}/comments/h{number:04x}/",
    }
    return base | other


def reddit_posts(crowd: list[Person]) -> dict[str, list[dict[str, Any]]]:
    """The good posts by subreddit, two subreddits in turns."""
    posts: dict[str, list[dict[str, Any]]] = {name: [] for name in SUBREDDITS}
    numbers = itertools.count(1)
    for person in crowd:
        rich = person.number < PEOPLE
        stories = person.stories(3)[: 8 if rich else 1 + person.number % 2]
        days = times(person.rng, datetime(2021, 3, 1, tzinfo=UTC), datetime(2023, 6, 1, tzinfo=UTC), len(stories))
        for i, (story, at) in enumerate(zip(stories, days, strict=True)):
            subreddit = SUBREDDITS[(person.number + i) % 2]
            room = len(story.title) + 2
            body = compose(person, story, 350 - room, 550 - room)
            posts[subreddit].append(post(next(numbers), subreddit, person.name, at, story.title, body, kind=story.kind))
    return posts


def reddit(crowd: list[Person], posts: dict[str, list[dict[str, Any]]]) -> None:
    for slice_number, (subreddit, good) in enumerate(posts.items()):
        rows: list[Any] = [{k: v for k, v in row.items() if k != "kind"} for row in good]
        dress_reddit(rows)
        rows += bad_posts(rows, [p.name for p in crowd], subreddit, slice_number)
        write(f"reddit/{subreddit}_submissions" + (".ndjson" if slice_number == 0 else ".zst"), json_lines(rows))


def bad_posts(rows: list[dict[str, Any]], names: list[str], subreddit: str, slice_number: int) -> list[Any]:
    """What the reader must quarantine and the rules must drop."""
    filler, at = rows[20]["selftext"], datetime(2022, 1, 1 + slice_number, tzinfo=UTC)
    number = itertools.count(0x900 + slice_number * 0x100)

    def bad(author: str, title: str, body: str, **other: Any) -> dict[str, Any]:
        n = next(number)
        return post(n, subreddit, author, at + timedelta(hours=n % 500), title, body, **other)

    return [
        bad("[deleted]", "My first year in the choir", filler),
        bad("[deleted]", "What should I cook", "[deleted]"),
        bad("AutoModerator", "Weekly thread: what made you smile?", filler, distinguished="moderator", stickied=True),
        bad("smalltown_weather_bot", "Weather for the weekend", filler),
        bad("announcements", "Changes to how posts are shown", filler),
        bad("harbour-modteam", "Please read the rules again", filler),
        bad(names[3], "A word from the moderators", filler + " Thank you all.", distinguished="moderator"),
        bad(names[15], "Somebody reported this", "[removed]"),
        bad(names[16], "I have no idea what to call this", "[removed]", num_comments=0),
        bad(names[17], "Nobody liked this story", filler + " I am new here.", score=0),
        bad(names[18], "An unpopular opinion about soup", filler + " Soup is a drink.", score=-7),
        bad(names[19], "Why does nobody vote here", filler + " Just asking.", score=None),
        bad(names[20], "Talking to myself again", filler + " Hello?", num_comments=0),
        bad(names[21], "Counters were not recorded here", filler + " Odd.", num_comments=None),
        bad(names[22], "Short one", "Does anybody else count the stairs while walking up?"),
        bad(names[23], "Is the bakery open on Monday?", "Asking for my sister, who is on her way."),
        dict(rows[4]),  # the same post twice in the dump
        rows[5] | {"id": f"h{next(number):04x}", "created_utc": int(at.timestamp()) + 40_000_000},  # posted again later
        {k: v for k, v in bad(names[24], "The author field is not there", filler).items() if k != "author"},
        {k: v for k, v in bad(names[25], "A row without an id", filler).items() if k != "id"},
        bad(names[26], "A row without a time", filler, created_utc="yesterday"),
        b'{"id": "hfff1", "author": "mossy_step", "title": "The dump was cut in the mid',
        b'["not", "an", "object"]',
    ]


def dress_reddit(rows: list[dict[str, Any]]) -> None:
    """Quirks that a record must survive."""
    rows[0]["created_utc"] = str(rows[0]["created_utc"])
    rows[1]["created_utc"] = float(rows[1]["created_utc"])
    rows[2]["selftext"] = rows[2]["selftext"].replace(". ", ".\r\n\r\n", 2)
    rows[3]["selftext"] = "&gt; Tell us about your week &amp; be kind\n\n" + rows[3]["selftext"] + "\n\n&amp;#x200B;"
    rows[6]["selftext"] += f" {LONE_SURROGATE} (my phone ate the smiley)"
    rows[7]["selftext"] += " There is a photo at https://pictures.example/stairs.jpg if you <b>really</b> want to see it."
    rows[8]["selftext"] += " \u0000Na ja, so ist das eben, und am Ende lacht man dar\u00fcber."
    rows[9]["over_18"] = True
    rows[10]["selftext"] += " \U0001f642"


# ---- Reddit comments -------------------------------------------------------------------------------------------------


def comment(number: int, target: dict[str, Any], author: str, body: str, **other: Any) -> dict[str, Any]:
    base = {
        "id": f"k{number:05x}",
        "author": author,
        "subreddit": target["subreddit"],
        "body": body,
        "link_id": f"t3_{target['id']}",
        "parent_id": f"t3_{target['id']}",
        "created_utc": int(target["created_utc"]) + 3600 + number * 60,
        "score": 1 + number % 12,
        "distinguished": None,
        "is_submitter": False,
        "permalink": f"/r/{target['subreddit']}/comments/{target['id']}/-/k{number:05x}/",
    }
    return base | other


def hash_name(name: str, prefix: str = "") -> str:
    return hashlib.sha256(f"{prefix}reddit/{name}".encode()).hexdigest()


def choose_known(crowd: list[Person]) -> set[str]:
    """The authors whose posts most people answer: those whom the demo's caps choose, which go by the hash of the name. What nobody
    filtered has no answers."""
    return set(sorted((p.name for p in crowd[:PEOPLE]), key=hash_name)[:4])


def is_of_first_half(name: str) -> bool:
    """One of two halves of the crowd, each of which answers mostly itself: those whom the demo trains on, and those whom it tests
    with. An answer from one half to the other is no sample."""
    return int(hash_name(name, "split|")[0], 16) < 8


def good_comments(crowd: list[Person], posts: list[dict[str, Any]], known: set[str]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(post, author, body): each person answers other people's posts out of her own experience, mostly those that all read."""
    for person in crowd:
        others = [p for p in posts if p["author"] != person.name]
        near = [p for p in others if p["author"] in known and is_of_first_half(p["author"]) == is_of_first_half(person.name)]
        far = [p for p in others if p["author"] in known and is_of_first_half(p["author"]) != is_of_first_half(person.name)]
        rest = [p for p in others if p["author"] not in known]
        answered = [others[person.number]]
        if person.number < PEOPLE:
            answered = [p for group, n in ((near, len(near)), (far, 2), (rest, 2)) for p in person.rng.sample(group, n)]
            person.rng.shuffle(answered)
        lessons = [f"I work as a {person.slots['job']}, and {person.job[1]}.", f"{person.hobby[1]}."]
        for i, target in enumerate(answered):
            advice = texts.ADVICE[target["kind"]]
            lead = person.say("leads")
            lesson = lessons[i % 2]
            body = f"{lead} {lesson[0].upper()}{lesson[1:]} {advice[(person.number + i // 2) % len(advice)]}"
            yield target, person.name, body if i % 3 else f"{body} {person.say('closings')}"


def reddit_comments(crowd: list[Person], posts: dict[str, list[dict[str, Any]]]) -> None:
    everything = [p for rows in posts.values() for p in rows]
    answers: dict[str, list[Any]] = {name: [] for name in SUBREDDITS}
    for number, (target, author, body) in enumerate(good_comments(crowd, everything, choose_known(crowd)), start=1):
        answers[target["subreddit"]].append(comment(number, target, author, body))
    for slice_number, (subreddit, rows) in enumerate(answers.items()):
        target, names = posts[subreddit][9], [p.name for p in crowd]
        lost = target | {"id": "hzzzz"}
        number = itertools.count(0x9000 + slice_number * 0x100)
        filler = "I read this on the train and missed my stop, so thank you for that, and please write more of it."
        rows[0]["created_utc"] = str(rows[0]["created_utc"])
        rows[1]["body"] = "&gt; what you said\r\n\r\n" + rows[1]["body"]
        rows[2]["body"] += f" {LONE_SURROGATE}"
        rows += [
            comment(next(number), target, "[deleted]", filler),
            comment(next(number), target, "AutoModerator", filler, distinguished="moderator"),
            comment(next(number), target, "announcements", filler),
            comment(next(number), target, "metric_converter_bot", filler),
            comment(next(number), target, names[14], "I am a bot, and this action was performed automatically. " + filler),
            comment(next(number), target, names[15], filler + " Locked now.", distinguished="moderator"),
            comment(next(number), target, names[16], "[removed]"),
            comment(next(number), target, names[17], filler + " Not that anybody asked.", score=-4),
            comment(next(number), target, names[18], filler + " The counter is missing.", score=None),
            comment(next(number), target, names[19], "Same here!"),
            comment(next(number), lost, names[20], filler + " The post is gone, is it not?"),
            dict(rows[5]),
            rows[6] | {"id": f"k{next(number):05x}"},
            comment(next(number), target, names[21], filler) | {"link_id": None},
            b'{"id": "kffff", "author": "sundaypaper", "body": "cut of',
        ]
        suffix = ".ndjson" if slice_number == 0 else ".zst"
        write(f"reddit_comments/RC_{subreddit}{suffix}", json_lines(rows))


# ---- Twitter ---------------------------------------------------------------------------------------------------------

TWITTER_NAMES = [
    "lena_by_the_canal",
    "BertHillwalker",
    "mona_writes_late",
    "tomato_uncle",
    "SaraOnTwoWheels",
    "paul_from_the_pier",
    "NinaKnitsNow",
    "greywolfgus",
    "ella_at_seven",
    "JorisTheFirst",
    "hedda_hums",
    "milo_and_the_moon",
    "RuthlessRuth61",
    "kai_in_wellies",
    "dora_dots",
    "viktor_vee",
    "PipSqueak77",
    "annabel_lea",
    "ottos_garage",
    "mikaela_m",
    "FinnOnFoot",
    "gwen_in_the_glen",
    "raf_reads",
    "tilda_t",
    "bo_the_builder2",
    "olive_branching",
    "hugo_hears",
    "zoe_zigzag",
]


def tweet_text(person: Person, story: Story) -> str:
    return compose(person, story, 305, 385)


def twitter(crowd: list[Person]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for person in crowd:
        stories = person.stories(3)[: 8 if person.number < PEOPLE else 1 + person.number % 2]
        days = times(person.rng, datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 12, 1, tzinfo=UTC), len(stories))
        for story, at in zip(stories, days, strict=True):
            rows.append({"user": person.name, "tweet": tweet_text(person, story), "at": at})
    for i, row in enumerate(rows):
        row |= {"id": 1345000000000000001 + i * 7919, "replies": i % 5, "retweets": i % 3, "likes": i % 41, "quotes": i % 2}
    shards = [[row for i, row in enumerate(rows) if i % 2 == part] for part in (0, 1)]
    number_type, text_type = pa.int64(), pa.string()
    for part, shard in enumerate(shards):
        dress_twitter(shard, part)
        shard += bad_tweets(shard, crowd, part)
        for row in shard:
            row["date"] = row.pop("at").strftime("%Y-%m-%dT%H:%M:%S+00:00" if part == 0 else "%Y-%m-%d %H:%M:%S+00:00")
        shard[-2]["date"] = "a pleasant evening"
        shard[-1]["user"] = None
        id_type = number_type
        if part == 1:  # a shard that somebody saved from a spreadsheet: ids are text, some rounded
            id_type = text_type
            for i, row in enumerate(shard):
                row["id"] = f"{row['id']:.5E}" if i % 10 == 3 and row["id"] else (None if row["id"] is None else str(row["id"]))
        schema = pa.schema(
            [("user", text_type), ("id", id_type), ("tweet", text_type)]
            + [(name, number_type) for name in ("replies", "retweets", "likes", "quotes")]
            + [("date", text_type)]
        )
        target = HERE / f"twitter/shard_{part}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(shard, schema=schema), target, compression="zstd")


def dress_twitter(rows: list[dict[str, Any]], part: int) -> None:
    rows[0]["tweet"] = rows[0]["tweet"].replace(" and ", " &amp; ", 1)
    rows[1]["tweet"] += " #smalljoys @dearest_diary"
    rows[2]["tweet"] += " https://t.co/aB3dE5fG7h"
    rows[5]["tweet"] = rows[5]["tweet"].replace(". ", ".\r\n", 1)
    rows[7]["id"] = None if part else rows[7]["id"]


def bad_tweets(rows: list[dict[str, Any]], crowd: list[Person], part: int) -> list[dict[str, Any]]:
    long, at = rows[9]["tweet"], datetime(2022, 5, 1 + part, 12, tzinfo=UTC)
    german = (
        "Heute bin ich im Regen nach Hause gelaufen, weil der letzte Bus schon weg war, und habe unterwegs mit einem alten Mann "
        "\u00fcber seine Tauben gesprochen. Er kennt jede mit Namen, und ich kannte bis gestern nicht einmal meine Nachbarn. "
        "Morgen bringe ich ihm ein Brot vorbei und frage, ob ich beim F\u00fcttern helfen darf. So einfach ist das manchmal."
    )
    found = [
        (crowd[14].name, "RT @hedda_hums: " + long),
        (crowd[15].name, "This! " + long + " https://twitter.com/hedda_hums/status/1345000000000007920"),
        (crowd[16].name, "So true. RT @milo_and_the_moon: " + long),
        ("HarbourMarketOfficial", long + " See you there."),
        ("TarnwickHQ", long + " It has been a journey."),
        (crowd[17].name, "We are proud to announce that our customers voted for us again. " + long),
        (crowd[18].name, long + " Use code SUMMER20 for 20% off, only this week."),
        (crowd[19].name, long + " Link in bio!"),
        (crowd[20].name, "https://a.example/1 https://a.example/2 https://a.example/3 " + long),
        (crowd[21].name, "Good morning from the pier. That is all."),
        (crowd[22].name, "My soup is cold again, and it is my own fault."),
        (crowd[23].name, None),
        (crowd[24].name, german),
    ]
    bad: list[dict[str, Any]] = []
    for i, (user, text) in enumerate(found):
        given = {"id": 1399000000000000003 + part * 1000 + i * 11, "replies": None, "retweets": 0, "likes": 1, "quotes": None}
        bad.append({"user": user, "tweet": text, "at": at + timedelta(minutes=i)} | given)
    twice = dict(rows[10])
    again = rows[11] | {"id": 1399500000000000007 + part, "at": at}
    return [*bad, twice, again, bad[9] | {"id": 1399600000000000001 + part}, bad[10] | {"id": 1399700000000000001 + part}]


# ---- Blogger ---------------------------------------------------------------------------------------------------------


def blogger(crowd: list[Person]) -> None:
    signs = ("Aries", "Taurus", "Gemini", "Cancer", "Leo", "Virgo", "Libra", "Scorpio", "Pisces")
    topics = ("indUnk", "Education", "Arts", "Student", "Engineering")
    blogs: list[tuple[Person, list[tuple[str, str]]]] = []
    for person in crowd:
        rich = person.number % 2 == 0  # spread over both layouts
        stories = person.stories(3)[: 8 if rich else 1 + person.number % 3]
        days = times(person.rng, datetime(2003, 8, 1, tzinfo=UTC), datetime(2004, 8, 1, tzinfo=UTC), len(stories))
        entries = [(at.strftime("%d,%B,%Y"), compose(person, story, 350, 600)) for story, at in zip(stories, days, strict=True)]
        blogs.append((person, entries))
    write_blog_csv(blogs[:20], signs, topics)
    for number, (person, entries) in enumerate(blogs[20:]):
        write_blog_xml(number, person, entries, signs, topics)


def write_blog_csv(blogs: list[tuple[Person, list[tuple[str, str]]]], signs: Sequence[str], topics: Sequence[str]) -> None:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["id", "gender", "age", "topic", "sign", "date", "text"])
    for i, (person, entries) in enumerate(blogs):
        about = [person.name, ("female", "male")[i % 2], person.age, topics[i % 5], signs[i % 9]]
        for date, text in entries:
            rows.writerow([*about, date, f"           {text}          "])
        date, text = entries[0]
        if i == 0:
            rows.writerow([*about, date, f"           {text}          "])  # posted twice
        if i == 1:
            rows.writerow([*about, "17,mayo,2004", text])
        if i == 2:
            rows.writerow([*about, ",,2004", text])
        if i == 3:
            rows.writerow([*about, date, "        "])
        if i == 4:
            rows.writerow([*about, date, "  urlLink  Look at this&nbsp; picture of my bicycle!  "])
        if i == 5:
            rows.writerow([*about, date, 'He said "goodbye" and, after a while, left. ' + RIVER])
        if i == 6:
            out.write(f'{person.name},female,{person.age},indUnk,Leo,"02,May,2004","He wrote "yes and never closed the quote\n')
        if i == 7:
            out.write(f"{person.name},male,{person.age},Arts,Leo\n")
        if i == 8:
            rows.writerow([*about, "21,June,2004", text])  # the same text on another day
        if i == 9:
            rows.writerow([*about, "22,June,2004", text.replace(". ", ".\n\n", 2) + " A quoted line break is fine."])
    write("blogger/blogs_01.csv", out.getvalue().encode("utf-8"))


# a text in the third person, long enough, for the rule about first-person pronouns
RIVER = (
    "The river rose for three days and then went down again as if nothing had been said. People stood on the bridge with folded "
    "arms and compared it with other years. A boy threw a branch from one side and ran to the other. The baker sold out before "
    "ten. In the evening the lamps came on early, and the water carried them away in small yellow pieces."
)


def write_blog_xml(
    number: int, person: Person, entries: list[tuple[str, str]], signs: Sequence[str], topics: Sequence[str]
) -> None:
    gender = ("female", "male")[number % 2]
    parts = [b"<Blog>\r\n\r\n"]

    def add(date: str, body: bytes, closed: bool = True) -> None:
        parts.append(f"<date>{date}</date>\r\n<post>\r\n\r\n\r\n       \r\n      ".encode())
        parts.append(body + b"\r\n     \r\n\r\n    \r\n")
        if closed:
            parts.append(b"</post>\r\n\r\n")

    for i, (date, text) in enumerate(entries):
        body = text.encode("utf-8")
        if number == 0 and i == 0:
            body += " Caf\u00e9 M\u00fcller was closed, na\u00efve as I am.".encode("cp1252")  # neither ASCII nor UTF-8
        if number == 2 and i == 1:
            body = body.replace(b" ", b" \x00", 1) + b" R&B & <jazz> until midnight."
        add(date, body, closed=not (number == 4 and i == 2))
    text = entries[0][1].encode("utf-8")
    if number == 1:
        add("", text)
    if number == 3:
        add("03,July,2004", RIVER.encode("utf-8"))
    if number == 5:
        add("04,July,2004", b"urlLink")
        add("05,July,2004", b"")
    if number == 6:
        add(entries[0][0], text)
    if number == 7:
        parts.append(b"<date>06,July,2004</date>\r\n")
    write(
        f"blogger/xml/{person.name}.{gender}.{person.age}.{topics[number % 5]}.{signs[number % 9]}.xml",
        b"".join([*parts, b"</Blog>\r\n"]),
    )


# ---- Amazon ----------------------------------------------------------------------------------------------------------

BUYERS, PURCHASES = 30, 14  # who make up the core; 30 x 14 purchases over 128 items: each item at least three times
CATEGORIES = (("Home_and_Kitchen", texts.KITCHEN), ("Patio_Lawn_and_Garden", texts.GARDEN))


@dataclass(frozen=True)
class Item:
    asin: str
    category: int
    noun: str
    brand: str
    use: str
    detail: str

    @property
    def title(self) -> str:
        return f"{self.brand} {self.noun[0].upper()}{self.noun[1:]}"


def catalogue() -> list[Item]:
    found = []
    for category, (_, nouns) in enumerate(CATEGORIES):
        for i, line in enumerate(nouns.strip().splitlines()):
            noun, use, detail = line.split("|")
            for j, brand in enumerate(texts.BRANDS):
                found.append(Item(f"B0{category}{j}{i:06d}", category, noun, brand, use, detail))
    return found


def baskets(items: list[Item]) -> list[list[Item]]:
    """Each buyer's purchases: rounds through the whole catalogue, cut into equal parts without repetitions."""
    rng = random.Random("baskets")
    while True:
        order = [item for _ in range(4) for item in rng.sample(items, len(items))]
        parts = [order[b * PURCHASES : (b + 1) * PURCHASES] for b in range(BUYERS)]
        if all(len({item.asin for item in part}) == PURCHASES for part in parts):
            return parts


def review(person: Person, item: Item, i: int) -> tuple[str, str, float]:
    """Title, text and rating of one purchase."""
    rating = (5, 4, 5, 5, 3, 4, 5, 2)[(person.number + i) % 8]
    occasion = person.fill(texts.OCCASIONS[(person.number * 3 + i) % len(texts.OCCASIONS)])
    verdict = person.say("good" if rating >= 4 else "poor")
    body = f"The {item.noun} {item.use}, and {item.detail}."
    text = f"{occasion} {body} {verdict}"
    if len(text) < 115:
        text = f"{text} {introduction(person)}"
    titles = {5: "Exactly what I needed", 4: "Good, with a small but", 3: "It is all right", 2: "Not for me"}
    return titles[rating], text, float(rating)


@dataclass(frozen=True)
class Bought:
    person: Person
    item: Item
    at: datetime
    title: str
    text: str
    rating: float


def purchases(crowd: list[Person], items: list[Item]) -> list[Bought]:
    found = []
    for person, basket in zip(crowd, baskets(items), strict=False):
        spring, autumn = datetime(2016, 1, 1, tzinfo=UTC), datetime(2018, 6, 1, tzinfo=UTC)
        old = times(person.rng, spring, autumn, PURCHASES)
        new = times(person.rng, autumn + timedelta(days=900), autumn + timedelta(days=1700), PURCHASES)
        ordered = sorted(basket, key=lambda item: item.category)
        for i, item in enumerate(ordered):
            found.append(Bought(person, item, (old if item.category == 0 else new)[i], *review(person, item, i)))
    return found


def amazon(crowd: list[Person]) -> None:
    items = catalogue()
    rare = [
        Item(f"B0{c}9{i:06d}", c, "tool", "Noname", "does what it should", "nobody else seems to own it")
        for c in (0, 1)
        for i in range(4)
    ]
    core, guests = crowd[:BUYERS], crowd[BUYERS:]
    bought = purchases(core, items)
    day = datetime(2018, 3, 1, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC)

    def extra(person: Person, item: Item, i: int) -> Bought:
        return Bought(person, item, day[item.category] + timedelta(days=person.number % 28, hours=i), *review(person, item, i))

    for person in guests[:-1]:  # too few purchases
        bought += [extra(person, items[(person.number * 17 + i * 29) % len(items)], i) for i in range(1 + person.number % 5)]
    # eight purchases at first, but two of the items fall out of the core, and she after them
    bought += [extra(guests[-1], item, i) for i, item in enumerate([*items[3:28:5], rare[0], rare[3], rare[5]])]
    bought += [extra(core[i], item, 20 + i) for i, item in enumerate(rare)]  # items that nearly nobody bought
    bought.append(extra(core[9], rare[3], 30))  # bought three times, until the guest above is gone: it falls one round later
    own, other = ([b for b in bought if b.person is core[i]] for i in (2, 1))
    bought += [
        Bought(
            core[0], bought[0].item, bought[0].at + timedelta(days=9), "Update", bought[0].text + " Still fine after a week.", 4.0
        ),
        Bought(core[2], items[5], own[0].at + timedelta(days=1), own[0].title, own[0].text, own[0].rating),  # copied to a variant
        Bought(core[2], items[69], own[-1].at + timedelta(days=1), own[-1].title, own[-1].text, own[-1].rating),
        Bought(core[1], other[13].item, other[13].at + timedelta(days=30), "Update", other[13].text + " It is still here.", 4.0),
    ]
    for category in (0, 1):
        bought += [
            Bought(core[4], rare[category * 4], day[category], "Good", "Good.", 5.0),
            Bought(core[5], rare[category * 4 + 1], day[category], "Five Stars", "Works as described, thank you.", 5.0),
            Bought(core[6], rare[category * 4 + 2], day[category], "", "", 1.0),
        ]
    write_reviews_2018([b for b in bought if b.item.category == 0])
    write_reviews_2023([b for b in bought if b.item.category == 1])
    write_items([*items, *rare])


def write_reviews_2018(bought: list[Bought]) -> None:
    rows: list[Any] = []
    for i, b in enumerate(bought):
        row = {
            "overall": b.rating,
            "verified": True,
            "reviewTime": b.at.strftime("%m %d, %Y"),
            "reviewerID": b.person.name,
            "asin": b.item.asin,
            "reviewerName": b.person.name.title(),
            "reviewText": b.text,
            "summary": b.title,
            "unixReviewTime": int(b.at.timestamp()) // 86400 * 86400,
        }
        if i % 9 == 0:
            row["vote"] = f"{i + 1},024"
        if not b.text:
            del row["reviewText"]  # as real files leave it out
        rows.append(row)
    rows[3]["reviewText"] += " It&#39;s a keeper &amp; a present."
    rows[4]["unixReviewTime"] = str(rows[4]["unixReviewTime"])
    rows.insert(50, b'{"overall": 5.0, "reviewerID": "A2SAMPLE')
    rows.append({k: v for k, v in rows[6].items() if k != "reviewerID"})
    write(f"amazon/{CATEGORIES[0][0]}_5.json.gz", json_lines(rows))


def write_reviews_2023(bought: list[Bought]) -> None:
    rows: list[Any] = []
    for i, b in enumerate(bought):
        rows.append(
            {
                "rating": b.rating,
                "title": b.title,
                "text": b.text,
                "images": [],
                "asin": f"{b.item.asin[:-1]}X" if i % 4 == 0 else b.item.asin,  # a variant of the parent
                "parent_asin": b.item.asin,
                "user_id": b.person.name,
                "timestamp": int(b.at.timestamp()) * 1000 + i,
                "helpful_vote": i % 6,
                "verified_purchase": True,
            }
        )
    rows[2]["text"] = rows[2]["text"].replace(". ", ".<br /><br />", 1)
    rows[3]["text"] += " [[VIDEOID:0a1b2c3d4e5f]]"
    rows[5]["text"] += f" {LONE_SURROGATE}"
    rows.append(rows[6] | {"timestamp": None})
    rows.append(b"oops, a server error page <html>")
    write(f"amazon/{CATEGORIES[1][0]}.jsonl.gz", json_lines(rows))


def write_items(items: list[Item]) -> None:
    old: list[Any] = []
    new: list[Any] = []
    for i, item in enumerate(items):
        pretty = CATEGORIES[item.category][0].replace("_", " ").replace(" and ", " & ")
        description = f"{item.title}: {item.use}; {item.detail}."
        if item.asin == "B000000007":
            continue  # an item that the metadata does not know
        if item.category == 0:
            price = f"${i}.99" if i % 3 else ""
            fields = {"category": ["Home & Kitchen", "Kitchen & Dining"], "main_cat": pretty, "brand": item.brand, "price": price}
            old.append({"asin": item.asin, "title": item.title.replace("&", "&amp;"), "description": [description], **fields})
        else:
            fields = {
                "price": None if i % 3 else "12.99",
                "store": item.brand,
                "categories": ["Patio, Lawn & Garden"],
                "features": [],
            }
            new.append(
                {"parent_asin": item.asin, "title": item.title, "main_category": pretty, "description": [description], **fields}
            )
    old.append(dict(old[0]))  # twice in the metadata
    old.append(b'{"asin": "B0')
    write(f"amazon/meta_{CATEGORIES[0][0]}.json.gz", json_lines(old))
    write(f"amazon/meta_{CATEGORIES[1][0]}.jsonl.gz", json_lines(new))


def main() -> None:
    crowd = people(REDDIT_NAMES, 0)
    posts = reddit_posts(crowd)
    reddit(crowd, posts)
    reddit_comments(crowd, posts)
    twitter(people(TWITTER_NAMES, 1))
    blogger(people([str(4100017 + i * 3571) for i in range(PEOPLE + BYSTANDERS + 2)], 2))
    amazon(people([f"A2SAMPLE{i:05d}" for i in range(BUYERS + 12)], 3))


if __name__ == "__main__":
    main()
