"""Blogs: every row of a CSV and of an XML file is read or has a problem, and is counted alike by two ways."""

from __future__ import annotations

import csv
import io
import os
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pytest

from humanllm_assets.sources.blog_dates import read_day
from humanllm_assets.sources.files import SourceError, decode
from humanllm_assets.sources.layouts import CutRow, count_rows, detect_layout, load_files

HEADER = "id,gender,age,topic,sign,date,text"
XML_NAME = "7.male.26.indUnk.Virgo.xml"


def post(author: int | str = 7, gender: str = "male", text: str = "a text, and more", date: str = "14,May,2004") -> str:
    return f'{author},{gender},26,indUnk,Virgo,"{date}","{text}"'


def cut(path: Path) -> list[CutRow]:
    """The rows of a file, which must be as many as are counted."""
    found = detect_layout(load_files("blogger").records, path)
    assert found.layout.cutter
    cut_rows = list(found.layout.cutter.rows(path))
    assert count_rows(path, found) == len(cut_rows)
    assert [row.line for row in cut_rows] == sorted({row.line for row in cut_rows})
    assert all((row.values is None) == (row.problem is not None) for row in cut_rows)
    return cut_rows


def cut_csv(folder: Path, *lines: str | bytes, header: str = HEADER) -> list[CutRow]:
    path = folder / "b.csv"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in (header, *lines)) + b"\n")
    return cut(path)


def cut_xml(folder: Path, content: str | bytes) -> list[CutRow]:
    path = folder / XML_NAME
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return cut(path)


def outcome(rows: Sequence[CutRow]) -> list[str | None]:
    """The text of a row that is read, and in brackets the problem of another."""
    return [row.values["text"] if row.values else f"[{row.problem}]" for row in rows]


# ---- CSV -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gender", ["Male", "FEMALE", "", "unknown", "nonbinary", '"m,f"', " male"])
def test_a_row_with_another_gender_is_a_row(tmp_path: Path, gender: str) -> None:
    rows = cut_csv(tmp_path, post(1), post(2, gender), post(3))
    assert [(row.line, row.values and row.values["id"]) for row in rows] == [(2, "1"), (3, "2"), (4, "3")]


@pytest.mark.parametrize(
    "header", ["age,gender,id,topic,sign,date,text", "text,date,id,age,gender", "x,date,age,gender,text,id,y"]
)
@pytest.mark.parametrize("write", [str.lower, str.upper, str.title, lambda name: f' "{name}"'.strip()], ids=range(4))
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_told_by_their_names(tmp_path: Path, header: str, write: Callable[[str], str], delimiter: str) -> None:
    values = {"id": "7", "gender": "male", "age": "26", "date": "14,May,2004", "text": 'a "b", \n c;\td'}
    columns = header.split(",")
    out = io.StringIO()
    table = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    for text in ("first", values["text"], "last"):
        table.writerow([(values | {"text": text}).get(name, "?") for name in columns])
    path = tmp_path / "b.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (delimiter.join(map(write, columns)) + "\r\n" + out.getvalue()).encode())
    rows = cut(path)
    assert [row.values for row in rows] == [
        {"id": "7", "age": "26", "date": "14,May,2004", "day": "2004-05-14", "text": text}
        for text in ("first", 'a "b", \n c;\td', "last")
    ]
    assert [row.line for row in rows] == [2, 3, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,gender,age,date,text,Text\n", "does not name text exactly once"),
        ("id,gender,age,date\n", "found the columns age, date, gender, id; expected csv"),
        ("id|gender|age|date|text\n", "expected csv"),
        ("", "found the columns none"),
        (HEADER.replace(",", "\r") + "\r", "expected csv"),
        ((HEADER + "\n" + post() + "\n").encode("utf-16"), "UTF-16"),
        ((HEADER + "\n" + post() + "\n").encode("utf-16-be"), "UTF-16"),
        ((HEADER.replace("\n", "\r") + "\r" + post()).encode(), "found the columns"),
    ],
)
def test_a_csv_of_another_kind_is_refused_by_name(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "b.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SourceError, match=re.escape(message)) as error:
        cut(tmp_path / "b.csv")
    assert "b.csv" in str(error.value) and "\n" not in str(error.value)


OPEN = post(2).removesuffix('"')
NEVER_CLOSED = "[not a CSV row: unexpected end of data]"
IN_DOUBT = "[behind a quote that is not closed, or within a quoted text]"


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        ([OPEN], [NEVER_CLOSED]),
        ([OPEN, "and a second line,"], [NEVER_CLOSED]),
        ([OPEN, post(3, "unknown", "three")], [NEVER_CLOSED, "three"]),
        ([OPEN, post("x3", "female", "three")], [NEVER_CLOSED, "three"]),
        ([OPEN, OPEN, OPEN], [NEVER_CLOSED] * 3),
        ([post(2) + "x"], ["[not a CSV row: ',' expected after '\"']"]),
        (["2,male,26"], ["[3 fields instead of 7]"]),
        ([post(2) + ",one more"], ["[8 fields instead of 7]"]),
        (['2,male,26,indUnk,Virgo,14 May 2004,5" tall'], ['5" tall']),
        (["2,male,26,indUnk,Virgo,14 May 2004,never\rclosed"], ["never\rclosed"]),
        (["", "   ", "\t"], []),
        (["no row at all"], ["[1 fields instead of 7]"]),
        ([post(2, text="two\n\n\r\nparagraphs")], ["two\n\n\nparagraphs"]),
        ([post(2, text='says ""hi"",\n""ho""')], ['says "hi",\n"ho"']),
        # Rows without quotes, which may as well be text that was quoted.
        ([OPEN, "3,male,26,indUnk,Virgo,14 May 2004,three"], [NEVER_CLOSED, IN_DOUBT]),
        (
            [post(2, text="I exported\n3,male,26,indUnk,Virgo,14 May 2004,three\nlike this")],
            [NEVER_CLOSED, IN_DOUBT, "[1 fields instead of 7]"],
        ),
        (["\0".join(post(2, text="with NULs"))], ["with NULs"]),
        ([b"2,male,26,indUnk,Virgo,14 May 2004,caf\xe9 caf\xc3\xa9 \x93x\x94"], ["café café “x”"]),
        ([b"\xff\xfe\x80\x81"], ["[1 fields instead of 7]"]),
    ],
)
def test_a_damaged_row_leaves_its_neighbours_alone(tmp_path: Path, damaged: list[str | bytes], found: list[str]) -> None:
    assert outcome(cut_csv(tmp_path, post(1, text="before"), *damaged, post(9, text="behind"))) == ["before", *found, "behind"]


def test_a_line_of_50_mb_is_one_row(tmp_path: Path) -> None:
    long = "x" * (50 << 20)
    rows = cut_csv(tmp_path, post(1), post(2, text=long), post(3), post(4).replace("a text", long).removesuffix('"'), post(5))
    assert [row.values["id"] if row.values else row.problem for row in rows] == [
        "1", "longer than 16 MiB", "3", "longer than 16 MiB", "5"
    ]  # fmt: skip


def test_a_quote_that_is_open_to_the_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    rows = cut_csv(tmp_path, post(1), OPEN, *["some words, and some more"] * 1_500_000)
    assert outcome(rows)[:2] == ["a text, and more", "[longer than 16 MiB]"]
    assert {text for text in outcome(rows[2:])} == {"[2 fields instead of 7]"}


def test_an_undamaged_csv_has_the_rows_that_other_readers_find(tmp_path: Path) -> None:
    random_ = random.Random(4)
    pieces = ["word", '"', ",", "\n", "\r\n", "\n\n", " ", "é", " 5,male,", "'", '""', "\t"]
    path = tmp_path / "b.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(HEADER.split(","))
        for author in range(2000):
            text = "".join(random_.choices(pieces, k=random_.randint(0, 12)))
            table.writerow([author, random_.choice(["male", "female", "x"]), 26, "Arts", "Leo", "14,May,2004", text])
    with path.open(encoding="utf-8", newline="") as handle:
        wanted = [(row["id"], row["text"].replace("\r\n", "\n").strip()) for row in csv.DictReader(handle)]
    assert [(row.values["id"], row.values["text"]) for row in cut(path) if row.values] == wanted
    with duckdb.connect() as con:
        counted = con.execute(
            "SELECT count(*) FROM read_csv(?, header = true, all_varchar = true, quote = '\"', escape = '\"')", [str(path)]
        )
        assert counted.fetchall() == [(len(wanted),)]


# ---- XML -------------------------------------------------------------------------------------------------------------

ONE, TWO = "<date>01,May,2004</date><post>one</post>\r\n", "<date>02,May,2004</date><post>two</post>\n"


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        ("<dat>01,June,2004</date><post>x</post>", ["[a post without a date]"]),
        ("<dat>01,June,2004</dat><post>x</post>", ["[a post without a date]"]),
        ("<date>01,June,2004</dat><post>x</post>", ["[a post without a date]"]),
        ("<date>01,June,2004</date><pos>x</post>", ["[a date without a post]"]),
        ("<date>01,June,2004</date><pos>x</pos>", ["[a date without a post]"]),
        ("<date>01,June,2004</date><post>x</pos>", ["x</pos>"]),
        ("<post>x</post>", ["[a post without a date]"]),
        ("<date>01,June,2004</date>", ["[a date without a post]"]),
        ("<dat>01,June,2004</dat><pos>x</pos>", ["[text outside of a post]"]),
        ("<date>01,June,2004</date> and <post>x</post>", ["[text between a date and its post]"]),
        ("<date>01,June,2004</date><post>x <post> y</post>", ["[a post within a post]"]),
        ("<date>01,June,2004</date><post>x</post> y</post>", ["x", "[text outside of a post]"]),
        ("<date>01,June,2004</date><post>x 02,June,2004</date><post>y</post>", ["[a post that does not end]", "[a post without a date]"]),
        ("<DATE>01,June,2004</Date >\n<Post>x & <b>y</b> </blog> z</POST>", ["x & <b>y</b> </blog> z"]),
        ("<date></date><post></post>", [""]),
        ("</Blog><Blog>", ["[text outside of a post]"]),
    ],
)  # fmt: skip
def test_a_damaged_mark_leaves_no_post_out(tmp_path: Path, damaged: str, found: list[str]) -> None:
    rows = cut_xml(tmp_path, f"\ufeff<?xml version='1.0'?>\r\n<Blog>\r\n{ONE}{damaged}\n{TWO}</Blog>\r\n")
    wanted = ["one", *found, "two"]
    assert [text and text.strip() for text in outcome(rows)] == wanted
    assert [row.line for row in rows] == list(range(1, len(wanted) + 1))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("<Blog></Blog>", []),
        ("<Blog>", []),
        ("<Blog>words</Blog>", ["[text outside of a post]"]),
        ("<Blog><post>x</post></Blog>", ["[a post without a date]"]),
        (f"<Blg>{ONE}</Blog>", ["[text outside of a post]", "one"]),
        (f"<Blog>{ONE}</Bl", ["one", "[text outside of a post]"]),
        ("<Blog><date>1,May,2004</date><post>one", ["one"]),
        ("<Blog><date>1,May,20", ["[a date without a post]"]),
    ],
)
def test_what_a_file_without_whole_posts_holds_is_named(tmp_path: Path, content: str, found: list[str]) -> None:
    assert outcome(cut_xml(tmp_path, content)) == found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("blog.xml", ONE.encode(), "give it its original name"),
        ("7.male.x.indUnk.Virgo.xml", ONE.encode(), "give it its original name"),
        (XML_NAME, b"", "found no <Blog>"),
        (XML_NAME, b"<html><body>words</body></html>", "found no <Blog>"),
        (XML_NAME, f"<Blog>{ONE}</Blog>".encode("utf-16"), "UTF-16"),
        (XML_NAME, f"<Blog>{ONE}</Blog>".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_an_xml_file_of_another_kind_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error:
        cut(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["1000331.female.37.indUnk.Leo.xml", "7.MALE.26.INDUNK.VIRGO.XML", "7.unknown.26.Museums-Libraries.Leo.Xml"]
)
def test_names_of_official_files_tell_the_author(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"<Blog>{ONE}</Blog>")
    assert [row.values and (row.values["id"], row.values["age"]) for row in cut(tmp_path / name)] == [
        tuple(name.split(".")[:3:2])
    ]


# ---- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("café “x” €".encode(), "café “x” €"),
        (b"caf\xe9 \x93x\x94 \x80", "café “x” €"),
        (b"caf\xc3\xa9 \x93x\x94", "café “x”"),
        (b"caf\xe9 \xe2\x80\x9cx\xe2\x80\x9d", "café “x”"),
        (b"\xe9\xc3\xa9\xe9", "ééé"),
        (b"cut \xe2\x80", "cut â€"),
        (b"na\x81\x00", "na\x81"),
        (b"", ""),
    ],
)
def test_two_encodings_in_one_post_are_read_piece_by_piece(tmp_path: Path, data: bytes, text: str) -> None:
    assert decode(data) == text
    assert outcome(cut_xml(tmp_path, b"<Blog><date>1,May,2004</date><post>" + data + b"</post></Blog>")) == [text]
    assert outcome(cut_csv(tmp_path, post(text="@").encode().replace(b"@", data))) == [text]


def test_bytes_in_no_encoding_are_read_in_one_go() -> None:
    assert decode(b"\xe9" * 2_000_000 + b"\xc3\xa9") == "é" * 2_000_001


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("31,May,2004", "2004-05-31"),
        (" 1,may,2004 ", "2004-05-01"),
        ("01,SEPT.,2004", "2004-09-01"),
        ("29,February,2004", "2004-02-29"),
        ("29,February,2003", None),
        ("31,June,2004", None),
        ("0,June,2004", None),
        ("3,Maio,2003", "2003-05-03"),
        ("3,Jaanuar,2004", "2004-01-03"),
        ("3,juillet,2004", "2004-07-03"),
        ("3,août,2004", "2004-08-03"),
        ("3,AOUT,2004", "2004-08-03"),
        ("3,lipiec,2004", "2004-07-03"),
        ("3,czerwca,2004", "2004-06-03"),
        ("3,toukokuu,2004", "2004-05-03"),
        ("3,kasım,2004", "2004-11-03"),
        ("3,Kasim,2004", "2004-11-03"),
        ("3,Μαΐου,2004", "2004-05-03"),
        ("3,июля,2004", "2004-07-03"),
        ("3,März,2004", "2004-03-03"),
        ("3,Marz,2004", "2004-03-03"),
        ("3,MÃ¤rz,2004", "2004-03-03"),
        ("3,ìàé,2004", "2004-05-03"),  # Russian, read in cp1252
        ("3,wrzesieñ,2004", "2004-09-03"),  # Polish, read in cp1252
        ("3 May 2004", "2004-05-03"),
        ("3-May-2004", "2004-05-03"),
        ("2004-05-03", "2004-05-03"),
        ("2004-05-03 00:00:00", "2004-05-03"),
        ("2004-13-03", None),
        ("3,listopad,2004", None),  # November in Polish, October in Croatian
        ("3,05,2004", None),
        ("3/5/2004", None),
        ("3,Ma,2004", None),
        ("3,Mayonnaise,2004", None),
        ("3,May,04", None),
        ("3,May,2004,4", None),
        (",,2004", None),
        ("", None),
    ],
)  # fmt: skip
def test_months_in_other_languages_and_spellings(text: str, day: str | None) -> None:
    assert read_day(text) == day


def test_no_month_is_two_months() -> None:
    from humanllm_assets.sources import blog_dates

    words = [word for names in blog_dates._NAMES for word in names.split()]
    assert len(words) == len(set(words)) and all(blog_dates._fold(word) == word for word in words)


# ---- random damage ---------------------------------------------------------------------------------------------------

DAMAGES = int(os.environ.get("HUMANLLM_FILE_DAMAGES", "300"))


def damage(data: bytes, random_: random.Random) -> bytes:
    """The same with one to three random damages."""
    for _ in range(random_.randint(1, 3)):
        at, other, length = random_.randrange(len(data) + 1), random_.randrange(len(data) + 1), random_.randint(1, 200)
        kind = random_.randrange(9)
        if kind == 0 and data:
            flipped = bytearray(data)
            flipped[min(at, len(data) - 1)] ^= 1 << random_.randrange(8)
            data = bytes(flipped)
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + data[other : other + length] + data[at:]
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data = data[:at] + bytes(random_.choices(range(256), k=length)) + data[at:]
        elif kind == 5:
            data = (
                data[:at]
                + random_.choice([b"\r", b"\n", b"\0", b'"', b",", b'""', b"\n\n", b"<", b">", b"\xff", b"\xe2\x80"])
                + data[at:]
            )
        elif kind == 6:
            marks = [b"<date>", b"</date>", b"<post>", b"</post>", b"<Blog>", b"</Blog>", b"5,male,26,", b'"14,May,2004"']
            data = data[:at] + random_.choice(marks) + data[at:]
        elif kind == 7:
            data = data[:at] + random_.choice([b"x", b'"', b"x,", b'x",']) * random_.choice([1000, 300_000]) + data[at:]
        else:
            data = data[: at // 2 * 2] + data[at:].decode("latin-1").encode("utf-16-le")[: 2 * length] + data[at + length :]
    return data


CSV_FILE = "\r\n".join(
    [HEADER, *(post(1000 + n, ("male", "female", "")[n % 3], f'text {n}\n\nwith ""q"" é') for n in range(12))]
).encode()
XML_FILE = f"<Blog>\r\n\r\n{''.join(f'<date>{n:02},May,2004</date>{chr(10)}<post>{chr(10)}  text {n} é <b>x</b></post>' for n in range(1, 13))}</Blog>"


@pytest.mark.timeout(120 + DAMAGES)
@pytest.mark.parametrize(("name", "content"), [("b.csv", CSV_FILE), (XML_NAME, XML_FILE.encode())], ids=["csv", "xml"])
def test_random_damage_loses_no_row_and_stops_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    whole = set(outcome(cut(path)))
    assert len(whole) == 12
    near, refused = 0, 0
    for seed in range(DAMAGES):
        path.write_bytes(damage(content, random.Random(seed)))
        try:
            rows = cut(path)
        except SourceError as error:
            assert name in str(error)
            refused += 1
            continue
        near += len(whole & set(outcome(rows))) >= 6
    assert refused < DAMAGES / 2 < near


def test_one_flipped_bit_touches_one_row(tmp_path: Path) -> None:
    for name, content in (("b.csv", CSV_FILE), (XML_NAME, XML_FILE.encode())):
        path = tmp_path / name
        path.write_bytes(content)
        whole = set(outcome(cut(path)))
        for at in range(len(HEADER) + 2 if name == "b.csv" else 0, len(content), 5):
            flipped = bytearray(content)
            flipped[at] ^= 4
            path.write_bytes(bytes(flipped))
            assert len(whole - set(outcome(cut(path)))) <= 1 + (content[at] == 10), flipped[at - 20 : at + 20]
