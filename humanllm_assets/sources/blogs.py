"""Blog Authorship Corpus (S3) in its two official layouts, cut into posts tolerantly: the CSV and the original XML files.

Neither is safe for a standard parser alone: the XML files are not well-formed and mix UTF-8 with cp1252 and NUL bytes; one
unclosed quote in the CSV makes a standard reader swallow the rows behind it. So damage is bounded by what the beginning of a row
looks like, and what is not understood is a row with a problem: nothing is left out and nothing is joined in silence.

Rows of a CSV: Python's CSV reader says where a row ends. But a line that looks like a row's beginning begins one, also within an
open quote, and a row ends when it is `MAX_ROW_BYTES` long. `line` is the line that a row begins on (the header is line 1).

Rows of an XML file: the marks `<date>`, `</date>`, `<post>` and `</post>`, each of which may be missing, in this order; and text
outside of posts. `line` is the number of the row, from 1.

`count_csv` and `count_xml` count by these same definitions in another way: from the bytes, without the CSV reader and without
cutting. In an undamaged file the definitions are those of any CSV reader, and one `<post>` per row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from humanllm_assets.sources import files
from humanllm_assets.sources.blog_dates import read_day
from humanllm_assets.sources.layouts import CsvHeader, CutRow, Cutter, read_csv_header

NEEDED = ("id", "gender", "age", "date", "text")  # columns of the CSV, at any place; the official one has topic and sign too
FIELDS = ("id", "age", "date", "day", "text")  # of a post: as found, but for blanks and line ends; the day as 2004-05-31
MAX_ROW_BYTES = 1 << 24
MAX_XML_BYTES = 1 << 28
_HEAD_BYTES = 1 << 12
_RAW_BYTES = 1 << 12  # of a row with a problem
_TOO_LONG = f"longer than {MAX_ROW_BYTES >> 20} MiB"


def _post(line: int, author: str, age: str, date: str, text: str) -> CutRow:
    text = text.replace("\r\n", "\n").strip()  # so far only: in SQL, mending a text costs more than everything else there
    return CutRow(line, {"id": author.strip(), "age": age.strip(), "date": date.strip(), "day": read_day(date), "text": text})


# ---- CSV -------------------------------------------------------------------------------------------------------------


def check_csv(path: Path) -> None:
    """Make sure that every needed column is there once.

    Raises:
        SourceError: it is not.
    """
    columns = read_csv_header(path).columns
    if wrong := [name for name in NEEDED if columns.count(name) != 1]:
        raise files.SourceError(
            f"{path} cannot be read: its header does not name {', '.join(wrong)} exactly once; correct its first line"
        )


def read_csv(path: Path) -> Iterator[CutRow]:
    """Rows of `blogtext.csv` or of a file derived from it. The header must have been checked."""
    csv.field_size_limit(2**31 - 1)  # the length of a row is limited here
    header = read_csv_header(path)
    feed = _Feed(path, _row_beginning(header))
    shows_quotes_of_its_own = re.compile(rf'(?:\A|{header.delimiter})"[^"{header.delimiter}\n]').search
    in_doubt = False  # is this a row, or does it stand within a quoted text?
    while feed.ahead:
        for fields in csv.reader(feed.lines_of_rows(), delimiter=header.delimiter):
            first, lines = feed.take()
            if len(lines) == 1 and not lines[0].strip(" \t\n"):
                continue
            problem = _csv_problem(lines, fields, header)
            if in_doubt and shows_quotes_of_its_own("".join(lines)):
                in_doubt = False  # in a quoted text they would be doubled
            if in_doubt:
                problem = problem or "behind a quote that is not closed, or within a quoted text"
            if problem:
                yield CutRow(first, problem=problem, raw=_decode("".join(lines)[:_RAW_BYTES].removesuffix("\n")))
            else:
                author, age, date, text = (_decode(fields[header.columns.index(name)]) for name in ("id", "age", "date", "text"))
                yield _post(first, author, age, date, text)
        in_doubt = True  # the rows of a feed end early where a quote is open


def count_csv(path: Path) -> int:
    """Rows of a CSV, counted from the bytes by the state of their quotes."""
    header = read_csv_header(path)
    looks_like_beginning, end = _row_beginning(header), header.delimiter
    quoted = r'"[^"]*+(?:""[^"]*+)*+'
    ends_in_quotes = re.compile(rf'(?:(?:{quoted}"[^{end}]*+|[^"{end}][^{end}]*+)?{end})*+{quoted}\Z').match
    rows, size, is_open = 0, 0, False
    for line in _lines_behind_header(path):
        if not is_open or size > MAX_ROW_BYTES or looks_like_beginning(line):
            is_open, size = False, 0
            if not line.strip(" \t"):
                continue
            rows += 1
        size += len(line) + 1
        if '"' in line:
            is_open = bool(ends_in_quotes('"' + line if is_open else line))
    return rows


def _lines_behind_header(path: Path) -> Iterator[str]:
    """The lines of a CSV without their ends; of one that is longer than a row may be only the beginning, which is longer as well.

    They are Latin-1, so that a character is a byte; `_decode` makes text of them. NULs of the file are left out, and a NUL stands
    for a carriage return within a line, which would end a row.
    """
    begun, lines = "", 0
    for block in files.blocks(path):
        *ended, rest = block.replace(b"\x00", b"").replace(b"\r", b"\x00").decode("latin-1").split("\n")
        for line in ended:
            if lines:
                yield (begun + line).removesuffix("\x00")
            begun, lines = "", lines + 1
        if len(begun) <= MAX_ROW_BYTES:
            begun += rest
    if lines and begun:
        yield begun.removesuffix("\x00")


def _decode(text: str) -> str:
    return text if text.isascii() and "\x00" not in text else files.decode(text.replace("\x00", "\r").encode("latin-1"))


class _Feed:
    """The lines of a CSV for the CSV reader, up to where a row has to end although a quote is open."""

    def __init__(self, path: Path, looks_like_beginning: Callable[[str], object]) -> None:
        self._numbered = enumerate(_lines_behind_header(path), start=2)
        self._looks_like_beginning = looks_like_beginning
        self._first, self._lines, self._size = 0, list[str](), 0
        self.ahead = next(self._numbered, None)

    def lines_of_rows(self) -> Iterator[str]:
        while self.ahead:
            number, line = self.ahead
            if self._lines and (self._size > MAX_ROW_BYTES or self._looks_like_beginning(line)):
                return
            line += "\n"
            self._first = self._first if self._lines else number
            self._lines.append(line)
            self._size += len(line)
            self.ahead = next(self._numbered, None)
            yield line

    def take(self) -> tuple[int, list[str]]:
        """Number of the first line, and the lines, that were read since this was last asked for."""
        first, lines = self._first, self._lines
        self._lines, self._size = [], 0
        return first, lines


def _csv_problem(lines: list[str], fields: list[str], header: CsvHeader) -> str | None:
    if sum(map(len, lines)) > MAX_ROW_BYTES:
        return _TOO_LONG
    try:
        next(csv.reader(lines, delimiter=header.delimiter, strict=True))
    except csv.Error as e:
        return f"not a CSV row: {e}"
    if len(fields) != len(header.columns):
        return f"{len(fields)} fields instead of {len(header.columns)}"
    return None


def _row_beginning(header: CsvHeader) -> Callable[[str], object]:
    """Whether a line looks like the beginning of a row: at their places stand an id and a gender, or two of id, gender and age
    with a date. Fewer would be found in texts."""
    end = header.delimiter
    field = rf'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{end}]*+){end}'

    def see(name: str, pattern: str) -> str:
        place = header.columns.index(name)
        blanks = r"\s*" if place else ""  # a text may be indented
        return rf'(?={field * place}{blanks}"?{pattern}"?\s*(?:{end}|\Z))'

    author, age = see("id", "[0-9]+"), see("age", "[0-9]{1,3}")
    gender, date = see("gender", "(?:fe)?male"), see("date", rf'[0-9]{{1,4}}[,./ -][^"{end}]{{1,20}}[,./ -][0-9]{{1,4}}')
    if end == ",":  # within quotes it may hold the delimiter
        date = see("date", r'[0-9]{1,4}[,./ -][^"]{1,20}?[,./ -][0-9]{1,4}')
    return re.compile(rf"{author}{gender}|{author}{age}{date}|{gender}{age}{date}", re.IGNORECASE | re.ASCII).match


# ---- XML -------------------------------------------------------------------------------------------------------------

_XML_NAME = re.compile(r"([0-9]+)\.([^.]*)\.([0-9]+)\.([^.]*)\.([^.]*)\.xml", re.IGNORECASE)
_MARK = re.compile(rb"<(?:(date)|(/date)|(post)|(/post))\s*>", re.IGNORECASE)
_XML_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<blog>", re.IGNORECASE)
_XML_TAIL = re.compile(rb"</blog>\s*\Z", re.IGNORECASE)
# One row in letters: D and d for the marks of the date, P and p for those of the post, t for text outside of posts before them.
_XML_ROW = re.compile("[Dt]?d?P*p?")


def _read_author(path: Path) -> tuple[str, str]:
    """Blogger id and age from a name such as `1043569.male.26.indUnk.Virgo.xml`."""
    match = _XML_NAME.fullmatch(path.name)
    if match is None:
        raise files.SourceError(
            f"{path} cannot be read: its name is not <id>.<gender>.<age>.<topic>.<sign>.xml; give it its original name"
        )
    return match[1], match[3]


def check_xml(path: Path) -> None:
    """Make sure that an XML file is one of the corpus, by its name, its size and its beginning.

    Raises:
        SourceError: it is not.
    """
    _read_author(path)
    head = next(files.blocks(path), b"")
    head = head.replace(b"\x00", b"")
    if b"<blog>" not in head[:_HEAD_BYTES].lower() and not _MARK.search(head):
        raise files.SourceError(
            f"{path} cannot be read: found no <Blog> at its start; expected a file of the Blog Authorship Corpus"
        )
    if path.stat().st_size > MAX_XML_BYTES:
        raise files.SourceError(
            f"{path} cannot be read: it is larger than {MAX_XML_BYTES >> 20} MiB, more than one blogger has written"
        )


def _read_inside(path: Path) -> bytes:
    """What stands within <Blog>, NULs left out."""
    data = b"".join(files.blocks(path)).replace(b"\x00", b"")
    head, tail = _XML_HEAD.match(data), _XML_TAIL.search(data, max(0, len(data) - _HEAD_BYTES))
    return data[head.end() if head else 0 : tail.start() if tail else len(data)]


def read_xml(path: Path) -> Iterator[CutRow]:
    """Posts of one blogger's XML file."""
    author, age = _read_author(path)
    data = _read_inside(path)
    letters, spans = _list_marks(data)
    line = 0
    for row in _XML_ROW.finditer(letters):
        first, behind = row.span()
        if first == behind:  # the pattern matches nothing at the end
            continue
        line += 1
        end = spans[behind][0] if behind < len(spans) else len(data)
        problem = _xml_problem(row[0], letters[behind : behind + 1], data, spans[first:behind])
        if problem:
            yield CutRow(line, problem=problem, raw=files.decode(data[spans[first][0] : end][:_RAW_BYTES]))
            continue
        (_, date_start), (date_end, _), (_, text_start) = spans[first : first + 3]
        text = data[text_start : spans[first + 3][0] if row[0] == "DdPp" else end]
        yield _post(line, author, age, files.decode(data[date_start:date_end]), files.decode(text))


def _xml_problem(row: str, ahead: str, data: bytes, spans: list[tuple[int, int]]) -> str | None:
    """What is wrong with a row. `ahead`: the letter behind it; `spans`: where its marks stand."""
    if "P" not in row:
        return "a date without a post" if {"D", "d"} & set(row) else "text outside of a post"
    if not row.startswith("DdP"):
        return "a post without a date"
    if row.count("P") > 1:
        return "a post within a post"
    if row == "DdP" and ahead not in ("", "D"):
        return "a post that does not end"
    if data[spans[1][1] : spans[2][0]].strip():
        return "text between a date and its post"
    return _TOO_LONG if spans[-1][1] - spans[0][0] > MAX_ROW_BYTES else None


def _list_marks(data: bytes) -> tuple[str, list[tuple[int, int]]]:
    """The letter of every mark and of every text outside of posts, and where each stands."""
    letters, spans, end = "", list[tuple[int, int]](), 0
    for mark in (*_MARK.finditer(data), None):
        start = mark.start() if mark else len(data)
        if letters[-1:] in ("", "p") and data[end:start].strip():
            letters += "t"
            spans.append((end, start))
        if mark:
            letters += "DdPp"[(mark.lastindex or 1) - 1]
            spans.append(mark.span())
            end = mark.end()
    return letters, spans


def count_xml(path: Path) -> int:
    """Rows of an XML file, counted from the bytes: a row begins at every mark that cannot follow the one before it in a row."""
    rows, place = 0, 4
    for part in re.split(rb"(?i)(</?(?:date|post)\s*>)", _read_inside(path)):
        if not _MARK.fullmatch(part):
            if place == 4 and part.strip():
                rows, place = rows + 1, 1  # text outside of posts, where a damaged <date> may be
            continue
        before, place = place, 1 + (b"<date", b"</dat", b"<post", b"</pos").index(part[:5].lower())
        rows += place <= before and not place == before == 3
    return rows


CSV = Cutter(read_csv, FIELDS, count_csv, check_csv)
XML = Cutter(read_xml, FIELDS, count_xml, check_xml)
