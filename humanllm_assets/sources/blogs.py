"""Blog Authorship Corpus (S3) in its two official layouts, parsed tolerantly: the CSV and the original XML files.

Neither is safe for a standard parser: the XML files are not well-formed and mix UTF-8 with cp1252 and NUL bytes; one unclosed
quote in the CSV would make a standard reader swallow every row behind it. Both readers therefore cut the file at what starts
a record, so that a broken record never touches its neighbours. `line` of a row of the CSV is the line it starts on (the header
is line 1), of an XML file the number of the post.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from humanllm_assets.sources import files
from humanllm_assets.sources.layouts import CutRow, Cutter

CSV_COLUMNS = ("id", "gender", "age", "topic", "sign", "date", "text")
MAX_FIELD_CHARS = 1 << 24
_CSV_START = re.compile(rb'\s*"?\d+"?,"?(?:fe)?male"?,')
_XML_NAME = re.compile(r"(\d+)\.(male|female)\.(\d+)\.([^.]*)\.([^.]*)\.xml", re.IGNORECASE)
_XML_POST = re.compile(rb"<date>(.*?)</date>\s*(?:<post>(.*))?", re.IGNORECASE | re.DOTALL)
_XML_END = re.compile(rb"</post>|</blog>", re.IGNORECASE)


FIELDS = ("id", "age", "date", "text")  # of a post, as found, nothing cleaned


def _read_author(path: Path) -> tuple[str, str]:
    """Blogger id and age from a name such as `1043569.male.26.indUnk.Virgo.xml`."""
    match = _XML_NAME.fullmatch(path.name)
    if match is None:
        raise files.SourceError(
            f"{path} cannot be read: its name is not <id>.<gender>.<age>.<topic>.<sign>.xml; give it its original name"
        )
    return match[1], match[3]


def check_xml(path: Path) -> None:
    """Make sure that an XML file is one of the corpus, by its name and its beginning.

    Raises:
        SourceError: it is not.
    """
    _read_author(path)
    head = next(files.blocks(path), b"")
    if b"<blog>" not in head[:4096].lower():
        raise files.SourceError(
            f"{path} cannot be read: found no <Blog> at its start; expected a file of the Blog Authorship Corpus"
        )


def read_csv(path: Path) -> Iterator[CutRow]:
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


def _csv_row(line: int, data: bytes) -> CutRow:
    text = files.decode(data)
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as e:
        return CutRow(line, problem=f"not a CSV row: {e}", raw=text)
    if len(rows) != 1 or len(rows[0]) != len(CSV_COLUMNS):
        found = len(rows[0]) if rows else 0
        return CutRow(line, problem=f"{found} fields instead of {len(CSV_COLUMNS)}", raw=text)
    values = dict(zip(CSV_COLUMNS, rows[0], strict=True))
    return CutRow(line, {**{name: values[name].strip() for name in ("id", "age", "date")}, "text": values["text"]})


def read_xml(path: Path) -> Iterator[CutRow]:
    """Posts of one blogger's XML file (a few MB at most); `line` is the number of the post, from 1."""
    author = _read_author(path)
    data = b"".join(files.blocks(path))
    starts = [match.start() for match in re.finditer(rb"<date>", data, re.IGNORECASE)]
    for number, (start, end) in enumerate(itertools.pairwise([*starts, len(data)]), start=1):
        part = data[start:end]
        match = _XML_POST.match(part)
        if match is None or match[2] is None:
            yield CutRow(number, problem="a date without a post", raw=files.decode(part))
        else:
            text = files.decode(_XML_END.split(match[2])[0])
            yield CutRow(number, {"id": author[0], "age": author[1], "date": files.decode(match[1]).strip(), "text": text})


CSV = Cutter(read_csv, FIELDS)
XML = Cutter(read_xml, FIELDS, check_xml)
