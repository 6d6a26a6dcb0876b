"""Blog Authorship Corpus (S3) in its two official layouts, parsed tolerantly: the CSV and the original XML files.

Neither is safe for a standard parser: the XML files are not well-formed and mix UTF-8 with cp1252 and NUL bytes; one unclosed
quote in the CSV would make a standard reader swallow every row behind it. Both readers therefore cut the file at what starts
a record, so that a broken record never touches its neighbours.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from humanllm_assets.sources import files

CSV_COLUMNS = ("id", "gender", "age", "topic", "sign", "date", "text")
MAX_FIELD_CHARS = 1 << 24
_CSV_START = re.compile(rb'\s*"?\d+"?,"?(?:fe)?male"?,')
_XML_NAME = re.compile(r"(\d+)\.(male|female)\.(\d+)\.([^.]*)\.([^.]*)\.xml", re.IGNORECASE)
_XML_POST = re.compile(rb"<date>(.*?)</date>\s*(?:<post>(.*))?", re.IGNORECASE | re.DOTALL)
_XML_END = re.compile(rb"</post>|</blog>", re.IGNORECASE)


@dataclass(frozen=True)
class BlogRow:
    """One post as found, nothing cleaned. `problem` says why it cannot be used; `raw` then holds its source text."""

    line: int
    id: str | None = None
    age: str | None = None
    date: str | None = None
    text: str | None = None
    problem: str | None = None
    raw: str | None = None


def decode(data: bytes) -> str:
    """UTF-8 where it is UTF-8, otherwise cp1252 (bytes that cp1252 leaves open are taken as Latin-1). NULs are left out."""
    data = data.replace(b"\x00", b"")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pieces = (data[i : i + 1] for i in range(len(data)))
        return "".join(_CP1252[piece] for piece in pieces)


def _cp1252(code: int) -> str:
    byte = bytes([code])
    return byte.decode("latin-1") if code in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else byte.decode("cp1252")


_CP1252 = {bytes([code]): _cp1252(code) for code in range(256)}


def xml_author(path: Path) -> tuple[str, str] | None:
    """Blogger id and age from a name such as `1043569.male.26.indUnk.Virgo.xml`; None when the name has another form."""
    match = _XML_NAME.fullmatch(path.name)
    return (match[1], match[3]) if match else None


def read_csv(path: Path) -> Iterator[BlogRow]:
    """Rows of `blogtext.csv`; `line` is the line a row starts on (the header is line 1). The header must have been checked."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    start, pending = 0, b""
    for number, line in enumerate(files.lines(path), start=1):
        if number == 1:
            continue
        if pending and not _CSV_START.match(line):
            pending += b"\n" + line
            continue
        if pending:
            yield _csv_row(start, pending)
        start, pending = number, line
    if pending:
        yield _csv_row(start, pending)


def _csv_row(line: int, data: bytes) -> BlogRow:
    text = decode(data)
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as e:
        return BlogRow(line, problem=f"not a CSV row: {e}", raw=text)
    if len(rows) != 1 or len(rows[0]) != len(CSV_COLUMNS):
        found = len(rows[0]) if rows else 0
        return BlogRow(line, problem=f"{found} fields instead of {len(CSV_COLUMNS)}", raw=text)
    values = dict(zip(CSV_COLUMNS, rows[0], strict=True))
    return BlogRow(line, id=values["id"].strip(), age=values["age"].strip(), date=values["date"].strip(), text=values["text"])


def read_xml(path: Path) -> Iterator[BlogRow]:
    """Posts of one blogger's XML file (a few MB at most); `line` is the number of the post, from 1."""
    author = xml_author(path)
    if author is None:
        raise files.SourceError(f"{path} is not named <id>.<gender>.<age>.<topic>.<sign>.xml; give it its original name")
    data = b"".join(files.blocks(path))
    starts = [match.start() for match in re.finditer(rb"<date>", data, re.IGNORECASE)]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(data)], strict=True), start=1):
        part = data[start:end]
        match = _XML_POST.match(part)
        if match is None or match[2] is None:
            yield BlogRow(number, problem="a date without a post", raw=decode(part))
        else:
            text = decode(_XML_END.split(match[2])[0])
            yield BlogRow(number, id=author[0], age=author[1], date=decode(match[1]).strip(), text=text)
