"""Made-up texts with one private item each, and texts with numbers that are nobody's: what the detector is measured on.

Everything is drawn from a seed. Phone numbers come from the ranges that are kept free for stories, where a country has one, and
otherwise from random digits; no number is taken from anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

Rng = random.Random


class Sample(NamedTuple):
    """A text with one private item; `written` is the item as it stands in it, `value` its canonical form."""

    kind: str
    form: str
    text: str
    written: str
    value: str


def digits(rng: Rng, n: int) -> str:
    return "".join(str(rng.randrange(10)) for _ in range(n))


WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "iris",
    "juniper",
    "kestrel",
    "lilac",
    "maple",
    "north",
    "otter",
    "pebble",
    "quartz",
    "river",
]
DOMAINS = ["gmail.com", "yahoo.com", "mail.org", "post.de", "uni-west.edu", "mail.co.uk", "web.fr", "example.net", "inbox.in"]
AREAS = [
    "201",
    "202",
    "206",
    "212",
    "213",
    "305",
    "310",
    "312",
    "404",
    "415",
    "503",
    "512",
    "602",
    "617",
    "646",
    "702",
    "713",
    "718",
    "773",
    "804",
    "818",
    "917",
    "919",
    "972",
]
BEFORE = ["call me at {}", "my number is {}", "text {} tonight", "Phone: {}", "you can reach my cell on {} after six", "tel {}"]
PLAIN = ["{}", "so here it is, {}, see you", "I am around most days. {} works best.", "for the flat: {}, ask for the blue door"]
ANY = BEFORE + PLAIN


def email(rng: Rng) -> tuple[str, str]:
    local = f"{rng.choice(WORDS)}{rng.choice(['', '.', '_'])}{rng.choice(WORDS)}{rng.choice(['', digits(rng, 2)])}"
    return local, rng.choice(DOMAINS)


def american(rng: Rng) -> str:
    area = rng.choice(AREAS)
    return (
        f"{area}55501{digits(rng, 2)}"
        if rng.random() < 0.5
        else f"{area}{rng.randrange(2, 10)}{rng.randrange(20, 99)}{digits(rng, 4)}"
    )


def british(rng: Rng) -> str:
    return rng.choice([f"7700900{digits(rng, 3)}", f"20794609{digits(rng, 2)}", f"1632960{digits(rng, 3)}"])


def german(rng: Rng) -> str:
    return rng.choice(
        [f"3023125{digits(rng, 3)}", f"17139200{digits(rng, 2)}", f"176040690{digits(rng, 2)}", f"89{digits(rng, 7)}"]
    )


def french(rng: Rng) -> str:
    return rng.choice([f"1990{digits(rng, 5)}", f"63998{digits(rng, 4)}", f"4{rng.randrange(30, 99)}{digits(rng, 6)}"])


def indian(rng: Rng) -> str:
    return f"{rng.choice('6789')}{digits(rng, 9)}"


def split(number: str, *sizes: int) -> list[str]:
    parts, at = [], 0
    for size in sizes:
        parts.append(number[at : at + size])
        at += size
    return [p for p in [*parts, number[at:]] if p]


def check_luhn(number: str) -> bool:
    doubled = [int(d) * 2 for d in number[-2::-2]]
    return (sum(map(int, number[-1::-2])) + sum(d // 10 + d % 10 for d in doubled)) % 10 == 0


def card(rng: Rng) -> str:
    start = rng.choice(["4", "51", "55", "2231", "6011"])
    body = start + digits(rng, 15 - len(start))
    return next(n for n in (f"{body}{d}" for d in range(10)) if check_luhn(n))


def iban(rng: Rng) -> str:
    country, body = rng.choice(
        [("DE", digits(rng, 18)), ("FR", digits(rng, 23)), ("GB", "WEST" + digits(rng, 14)), ("ES", digits(rng, 20))]
    )
    as_number = "".join(str(int(c, 36)) for c in f"{body}{country}00")
    return f"{country}{98 - int(as_number) % 97:02}{body}"


def by_fours(number: str, sep: str = " ") -> str:
    return sep.join(number[i : i + 4] for i in range(0, len(number), 4))


WIDE = {ord("0") + i: chr(0xFF10 + i) for i in range(10)}
ARABIC = {ord("0") + i: chr(0x0660 + i) for i in range(10)}
SPOKEN = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

Writer = Callable[[Rng], tuple[str, str]]  # (as written, canonical)


def write_email(form: str) -> Writer:
    def write(rng: Rng) -> tuple[str, str]:
        local, domain = email(rng)
        first, *rest = domain.split(".")
        spelled = form.format(
            local=local, domain=domain, first=first, rest=" dot ".join(rest), brackets="[dot]".join([first, *rest])
        )
        return spelled, f"{local}@{domain}"

    return write


def write_phone(draw: Callable[[Rng], str], form: Callable[[str], str]) -> Writer:
    def write(rng: Rng) -> tuple[str, str]:
        number = draw(rng)
        return form(number), number

    return write


def write_value(draw: Callable[[Rng], str], form: Callable[[str], str] = str) -> Writer:
    def write(rng: Rng) -> tuple[str, str]:
        value = draw(rng)
        return form(value), "".join(c for c in value if c.isalnum()).lower()

    return write


def american_as(sep: str) -> Callable[[str], str]:
    return lambda n: sep.join(split(n, 3, 3))


MAIL = ["write to {} please", "my mail: {}", "{} is where I read mail", "reach me ({}) any time", "{}"]
FORMS: list[tuple[str, str, Writer, list[str]]] = [
    ("email", "plain", write_email("{local}@{domain}"), MAIL),
    ("email", "capitals", lambda r: (lambda w: (w[0].upper(), w[1]))(write_email("{local}@{domain}")(r)), MAIL),
    ("email", "at and dot as words", write_email("{local} at {first} dot {rest}"), MAIL),
    ("email", "AT and DOT", write_email("{local} AT {first} DOT {rest}"), MAIL),
    ("email", "(at)", write_email("{local} (at) {domain}"), MAIL),
    ("email", "[at][dot]", write_email("{local}[at]{brackets}"), MAIL),
    ("email", "wide @", write_email("{local}＠{domain}"), MAIL),
    ("email", "@ between blanks", write_email("{local} @ {domain}"), MAIL),
    ("email", "entity", write_email("{local}&#64;{domain}"), MAIL),
    ("phone", "US 212-555-0188", write_phone(american, american_as("-")), ANY),
    ("phone", "US 212.555.0188", write_phone(american, american_as(".")), ANY),
    ("phone", "US 212 555 0188", write_phone(american, american_as(" ")), BEFORE),
    ("phone", "US (212) 555-0188", write_phone(american, lambda n: f"({n[:3]}) {n[3:6]}-{n[6:]}"), ANY),
    ("phone", "US (212)5550188", write_phone(american, lambda n: f"({n[:3]}){n[3:]}"), ANY),
    ("phone", "US 212/555-0188", write_phone(american, lambda n: f"{n[:3]}/{n[3:6]}-{n[6:]}"), ANY),
    ("phone", "US 2125550188", write_phone(american, str), BEFORE),
    ("phone", "US +12125550188", write_phone(american, lambda n: f"+1{n}"), ANY),
    ("phone", "US +1 (212) 555-0188", write_phone(american, lambda n: f"+1 ({n[:3]}) {n[3:6]}-{n[6:]}"), ANY),
    ("phone", "US 1-212-555-0188", write_phone(american, lambda n: "1-" + american_as("-")(n)), ANY),
    ("phone", "US digit by digit", write_phone(american, " ".join), BEFORE),
    ("phone", "US in words", write_phone(american, lambda n: " ".join(SPOKEN[int(d)] for d in n)), BEFORE),
    ("phone", "US wide digits", write_phone(american, lambda n: american_as("-")(n).translate(WIDE)), ANY),
    ("phone", "US Arabic digits", write_phone(american, lambda n: american_as("-")(n).translate(ARABIC)), ANY),
    ("phone", "US long dashes", write_phone(american, american_as("–")), ANY),
    ("phone", "US no-break blanks", write_phone(american, american_as("\u00a0")), BEFORE),
    ("phone", "UK 07700900123", write_phone(british, lambda n: f"0{n}"), ANY),
    ("phone", "UK 07700 900123", write_phone(british, lambda n: f"0{n[:4]} {n[4:]}"), ANY),
    ("phone", "UK +44 20 7946 0958", write_phone(british, lambda n: f"+44 {n[:2]} {n[2:6]} {n[6:]}"), ANY),
    ("phone", "UK +44 (0)20 7946 0958", write_phone(british, lambda n: f"+44 (0){n[:2]} {n[2:6]} {n[6:]}"), ANY),
    ("phone", "DE 0171/3920012", write_phone(german, lambda n: f"0{n[:3]}/{n[3:]}"), BEFORE),
    ("phone", "DE +49 171 3920012", write_phone(german, lambda n: f"+49 {n[:3]} {n[3:]}"), ANY),
    ("phone", "DE 0049...", write_phone(german, lambda n: f"0049{n}"), ANY),
    ("phone", "FR 06 39 98 12 34", write_phone(french, lambda n: " ".join(split(f"0{n}", 2, 2, 2, 2))), BEFORE),
    ("phone", "FR 06.39.98.12.34", write_phone(french, lambda n: ".".join(split(f"0{n}", 2, 2, 2, 2))), ANY),
    ("phone", "IN 9876543210", write_phone(indian, str), BEFORE),
    ("phone", "IN 98765 43210", write_phone(indian, lambda n: f"{n[:5]} {n[5:]}"), BEFORE),
    ("phone", "IN +91-9876543210", write_phone(indian, lambda n: f"+91-{n}"), ANY),
    ("card", "4 groups", write_value(card, by_fours), PLAIN),
    ("card", "one group", write_value(card), PLAIN),
    ("card", "dashes", write_value(card, lambda n: by_fours(n, "-")), PLAIN),
    ("iban", "one group", write_value(iban), PLAIN),
    ("iban", "4 groups", write_value(iban, by_fours), PLAIN),
    ("iban", "small letters", write_value(iban, str.lower), PLAIN),
    ("ssn", "dashes", write_value(lambda r: f"{r.randrange(101, 600)}-{r.randrange(10, 99)}-{r.randrange(1000, 9999)}"), PLAIN),
    ("ssn", "blanks, with a word", write_value(lambda r: f"{r.randrange(101, 600)} {r.randrange(10, 99)} {r.randrange(1000, 9999)}"),
     ["my SSN is {}", "social security number {}"]),
    ("ip", "IPv4", write_value(lambda r: ".".join(str(r.randrange(11, 255)) for _ in range(4))), PLAIN),
    ("ip", "IPv6", write_value(lambda r: ":".join(f"{r.randrange(4096, 65536):x}" for _ in range(8))), PLAIN),
    ("mac", "colons", write_value(lambda r: ":".join(f"{r.randrange(256):02x}" for _ in range(6))), PLAIN),
    ("passport", "with the word", write_value(lambda r: digits(r, 9)), ["my passport number is {}", "passport {} was stamped"]),
    ("crypto", "ethereum", write_value(lambda r: "0x" + "".join(r.choice("0123456789abcdef") for _ in range(40))), PLAIN),
    ("url_user", "profile", lambda r: (lambda w: (f"instagram.com/{w}",) * 2)(r.choice(WORDS) + digits(r, 3)), PLAIN),
    ("url_user", "login", lambda r: (lambda w: (f"https://{w}:secret@host.net", f"{w}:secret@host.net"))(r.choice(WORDS)), PLAIN),
]  # fmt: skip
STREETS = [
    "Birch Street",
    "Old Mill Road",
    "Maple Ave",
    "N Harbor Dr",
    "Kestrel Lane",
    "Linden Boulevard",
    "Amber Way",
    "West Elm St.",
]
NAMES = ["Ada Birch", "Tomas Fjord", "Lena Quartz", "Omar J. River", "Ines Maple Cedar", "Jo Otter"]
UNMEASURED: list[tuple[str, str, Writer, list[str]]] = [
    ("address", "US street", write_value(lambda r: f"{r.randrange(1, 9999)} {r.choice(STREETS)}"), ["I live at {}", "send it to {}, thanks"]),
    ("address", "with town", write_value(lambda r: f"{r.randrange(1, 999)} {r.choice(STREETS[:5])}, Westford, OH {digits(r, 5)}"), ["{}"]),
    ("address", "German", write_value(lambda r: f"{r.choice(['Birken', 'Linden'])}straße {r.randrange(1, 99)}"), ["I live at {}"]),
    ("address", "in words", write_value(lambda r: f"the {r.choice(['red', 'blue'])} house on {r.choice(STREETS)}"), ["I live in {}"]),
    ("name", "my name is", write_value(lambda r: r.choice(NAMES)), ["Hi, my name is {} and I paint", "My full name is {}."]),
    ("name", "I am", write_value(lambda r: r.choice(NAMES)), ["I am {}, nice to meet you"]),
    ("name", "told", write_value(lambda r: r.choice(NAMES)), ["My neighbour {} shouted again", "then {} left the room"]),
]  # fmt: skip


def draw_samples(forms: list[tuple[str, str, Writer, list[str]]], per_form: int, seed: int = 0) -> Iterator[Sample]:
    for kind, form, write, frames in forms:
        rng = random.Random(f"{seed} {kind} {form}")
        for _ in range(per_form):
            written, value = write(rng)
            yield Sample(kind, form, rng.choice(frames).format(written), written, value)


def _isbn13(rng: Rng) -> str:
    body = f"978{digits(rng, 9)}"
    check = (10 - sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10) % 10
    return f"{body[:3]}-{body[3]}-{body[4:7]}-{body[7:12]}-{check}"


def _many(rng: Rng, low: int, high: int, sep: str = " ", n: int = 3) -> str:
    return sep.join(str(rng.randrange(low, high)) for _ in range(n))


INNOCENT: list[tuple[str, Callable[[Rng], str]]] = [
    ("years", lambda r: f"{_many(r, 1950, 2026)}: good years"),
    ("year ranges", lambda r: f"from {r.randrange(1900, 1990)}-{r.randrange(1990, 2026)} and {r.randrange(1900, 1990)}-{r.randrange(1990, 2026)}"),
    ("scores", lambda r: f"we won {_many(r, 0, 9, '-', 2)}, then {_many(r, 0, 9, '-', 3)} and {r.randrange(60, 130)}-{r.randrange(60, 130)}"),
    ("ISBN", lambda r: f"the book, ISBN {_isbn13(r)}, is out"),
    ("ISBN without the word", lambda r: f"it is {_isbn13(r)} in the shop"),
    ("prices", lambda r: f"it was ${r.randrange(1, 999)},{digits(r, 3)}.{digits(r, 2)} or {r.randrange(10, 99)} {digits(r, 3)} 000 rupees"),
    ("versions", lambda r: f"version {_many(r, 0, 20, '.', 4)} and v{_many(r, 0, 30, '.', 3)} crash"),
    ("ISO dates", lambda r: f"on 20{r.randrange(10, 26)}-{r.randrange(1, 13):02}-{r.randrange(1, 29):02} {r.randrange(10, 24)}:{r.randrange(10, 60)}"),
    ("dates", lambda r: f"since {r.randrange(1, 13)}/{r.randrange(1, 29)}/{r.randrange(1950, 2026)}, {r.randrange(1, 29)}.{r.randrange(1, 13)}.20{r.randrange(10, 26)}"),
    ("times", lambda r: f"from {r.randrange(0, 24):02}:{r.randrange(60):02} to {r.randrange(0, 24):02}:{r.randrange(60):02}:{r.randrange(60):02}"),
    ("military times", lambda r: f"shifts at {r.randrange(0, 12):02}00 {r.randrange(12, 20)}00 {r.randrange(20, 24)}00"),
    ("race times", lambda r: f"splits 1:{r.randrange(10, 60)}:{r.randrange(10, 60)} and {r.randrange(15, 30)}:{r.randrange(10, 60)}.{digits(r, 2)}"),
    ("weights", lambda r: f"my {r.randrange(40, 60) * 5} {r.randrange(60, 80) * 5} {r.randrange(80, 100) * 5} journey, {_many(r, 100, 400, '/')}"),
    ("test scores", lambda r: f"my scores: {_many(r, 60, 101, ' ', 4)}"),
    ("calories", lambda r: f"calories: {_many(r, 12, 30, '00 ', 3)}00"),
    ("rooms", lambda r: f"rooms {_many(r, 100, 600)} are free"),
    ("resolutions", lambda r: f"try {r.choice([640, 800, 1280, 1920])}x{r.choice([480, 720, 1080])} or {r.choice([1280, 1024])} {r.choice([1024, 2048])} 4096"),
    ("short orders", lambda r: f"order {digits(r, 6)} and ticket #{digits(r, 7)} came"),
    ("coordinates", lambda r: f"at {r.randrange(-90, 90)}.{digits(r, 6)}, {r.randrange(-180, 180)}.{digits(r, 6)} I slept"),
    ("statistics", lambda r: f"{r.randrange(1, 30)},{digits(r, 3)},{digits(r, 3)} members, {r.randrange(100, 999)} online, {digits(r, 5)} posts"),
    ("zip codes", lambda r: f"I moved from {digits(r, 5)} to {digits(r, 5)}-{digits(r, 4)}"),
    ("recipes", lambda r: f"{r.randrange(100, 900)} g flour, {r.randrange(1, 9)}/{r.randrange(2, 9)} cup, bake at {r.randrange(150, 250)} for {r.randrange(10, 60)}-{r.randrange(60, 90)} min"),
    ("big numbers", lambda r: f"about {r.randrange(1, 9)}{'0' * 9} people, {r.randrange(10, 99)} 000 000 000 of them"),
    ("sections", lambda r: f"see 1.{r.randrange(1, 9)}.{r.randrange(1, 9)}.{r.randrange(1, 9)} and section {_many(r, 10, 30, '.', 4)}"),
    ("counting", lambda r: "one two three four five six seven eight nine ten, 1 2 3 4 5 6 7 8 9 10"),
    ("lottery", lambda r: f"lottery numbers {' '.join(f'{n:02}' for n in sorted(r.sample(range(1, 50), 6)))}"),
    ("a site", lambda r: f"{r.choice(['look at', 'I bought it at', 'we met at', 'find us at'])} {r.choice(WORDS)}.com, {r.choice(WORDS)} dot com"),
    ("a mention", lambda r: f"thanks @{r.choice(WORDS)}_{r.choice(WORDS)} and @{r.choice(WORDS)}.{r.choice(WORDS)}, meet @ {r.randrange(1, 12)}"),
    ("ratings", lambda r: f"I give {_many(r, 1, 11, ' ', 10)} for the ten songs"),
    ("times tables", lambda r: f"{_many(r, 2, 13, ' x ', 2)} = {r.randrange(4, 145)}; {_many(r, 10, 99, ' + ', 5)}"),
    ("model names", lambda r: f"an RTX {r.randrange(20, 50)}{r.choice(['60', '80'])}, a Ryzen 7 {digits(r, 4)}X and a {digits(r, 4)}-{digits(r, 2)} tyre"),
    ("identifiers", lambda r: f"item B0{digits(r, 7)}Q, tweet {r.randrange(10**17, 9 * 10**17)}, id {digits(r, 10)}"),
    ("statutes", lambda r: f"18 U.S.C. {digits(r, 4)}, 42-{digits(r, 3)}-{digits(r, 2)}, rule {r.randrange(10, 99)}.{r.randrange(10, 99)}"),
    ("hours", lambda r: f"open 9-5, {r.randrange(1, 9)}-{r.randrange(1, 9)} on weekends, 24/7/365 in {r.randrange(2000, 2026)}"),
]  # fmt: skip


def draw_innocent(per_form: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(what the numbers are, text) without any private item."""
    for name, write in INNOCENT:
        rng = random.Random(f"{seed} {name}")
        for _ in range(per_form):
            yield name, write(rng)
