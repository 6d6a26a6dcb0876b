"""Which official layout a source file has, told from its name, its header and its first rows.

A layout is `<family>-<container>`: the family says which fields the rows have (and so which SQL of `readers.py` reads them),
the container how they are stored. A new layout starts here: one entry in `FAMILIES`.
"""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from humanllm_assets.sources import blogs, files
from humanllm_assets.sources.files import SourceError

SNIFFED_LINES = 1000
SNIFFED_BYTES = 8 << 20


@dataclass(frozen=True)
class Family:
    """The rows of one kind of file: `needed` fields tell it from others, `optional` ones are read where they exist."""

    name: str
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    containers: tuple[str, ...] = ("ndjson", "ndjson.gz", "zst")

    @property
    def fields(self) -> tuple[str, ...]:
        return self.needed + self.optional


POSTS = Family(
    "pushshift",
    ("id", "author", "title", "created_utc"),
    ("selftext", "score", "num_comments", "distinguished"),
    ("ndjson", "ndjson.gz", "zst", "parquet"),
)
COMMENTS = Family(
    "pushshift",
    ("id", "author", "body", "link_id", "created_utc"),
    ("score", "distinguished"),
    ("ndjson", "ndjson.gz", "zst", "parquet"),
)
TWEETS = Family("twitter100m", ("user", "id", "tweet", "date"), (), ("parquet",))
BLOG_CSV = Family("blogtext", blogs.CSV_COLUMNS, (), ("csv", "csv.gz"))
BLOG_XML = Family("blog", (), (), ("xml",))
REVIEWS_2023 = Family(
    "amazon-2023",
    ("user_id", "parent_asin", "rating", "text", "timestamp"),
    ("asin", "title"),
    ("jsonl", "jsonl.gz", "jsonl.zst"),
)
REVIEWS_2018 = Family(
    "amazon-2018", ("reviewerID", "asin", "overall", "unixReviewTime"), ("reviewText", "summary"), ("json", "json.gz", "json.zst")
)
ITEMS_2023 = Family(
    "amazon-2023-items",
    ("parent_asin", "title", "main_category"),
    ("description", "features"),
    ("jsonl", "jsonl.gz", "jsonl.zst"),
)
ITEMS_2018 = Family(
    "amazon-2018-items", ("asin", "title", "category"), ("description", "main_cat"), ("json", "json.gz", "json.zst")
)

# What a source's record files and context files may be. `amazon_items` and `reddit` are what context files hold.
FAMILIES: dict[str, tuple[Family, ...]] = {
    "reddit": (POSTS,),
    "reddit_comments": (COMMENTS,),
    "twitter": (TWEETS,),
    "blogger": (BLOG_CSV, BLOG_XML),
    "amazon": (REVIEWS_2023, REVIEWS_2018),
    "amazon_items": (ITEMS_2023, ITEMS_2018),
}
CONTEXT_OF = {"reddit_comments": "reddit", "amazon": "amazon_items"}  # source -> what its context files hold


def detect_layout(source: str, path: Path) -> str:
    """The layout of a file of `source` (a key of `FAMILIES`), such as `pushshift-zst` or `amazon-2023-jsonl.gz`.

    Raises:
        SourceError: the file is none of the source's layouts; says what was found and what was expected.
    """
    family, container = detect_family(source, path)
    return f"{family.name}-{container}"


def detect_family(source: str, path: Path) -> tuple[Family, str]:
    """As `detect_layout`, with the family itself and the container apart."""
    families = FAMILIES[source]
    if not path.is_file():
        raise files.missing(path)
    packing = {".gz": ".gz", ".zst": ".zst", ".zstd": ".zst"}.get(path.suffix.lower(), "")
    inner = Path(path.stem).suffix.lower() if packing else path.suffix.lower()
    if inner == ".parquet" and not packing:
        return _one_of(families, "parquet", path, set(_parquet_columns(path)), "the columns")
    if inner == ".csv":
        return _one_of(families, f"csv{packing}", path, set(_csv_header(path)), "the columns")
    if inner == ".xml" and not packing:
        return _xml(families, path)
    fields = _json_fields(path)
    for family in families:
        if any(set(family.needed) <= row for row in fields):
            return family, _json_container(family, packing)
    widest = max(fields, key=len)
    raise _wrong(families, path, widest, "no row with all needed fields; its widest row has the fields")


def _json_container(family: Family, packing: str) -> str:
    plain = family.containers[0]  # every JSON family names its unpacked form first
    return "zst" if packing == ".zst" and "zst" in family.containers else plain + packing


def _one_of(families: tuple[Family, ...], container: str, path: Path, found: set[str], what: str) -> tuple[Family, str]:
    for family in families:
        if container in family.containers and set(family.needed) <= found:
            return family, container
    raise _wrong(families, path, found, what)


def _wrong(families: tuple[Family, ...], path: Path, found: set[str], what: str) -> SourceError:
    shown = ", ".join(sorted(found)[:25]) or "none"
    expected = "; or ".join(
        f"{'/'.join(f.containers)} with {', '.join(f.needed)}" if f.needed else "/".join(f.containers) for f in families
    )
    return SourceError(f"{path} cannot be read: found {what} {shown}; expected {expected}; give the slice a file in that layout")


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).names
    except pa.ArrowInvalid as e:
        raise SourceError(f"{path} is not a valid Parquet file ({e}); download it again") from e


def _csv_header(path: Path) -> list[str]:
    first = next(files.lines(path), b"")
    return next(csv.reader([blogs.decode(first)]), [])


def _xml(families: tuple[Family, ...], path: Path) -> tuple[Family, str]:
    family = next((f for f in families if "xml" in f.containers), None)
    if family is None:
        raise _wrong(families, path, set(), "an XML file; fields")
    if blogs.xml_author(path) is None:
        raise SourceError(
            f"{path} cannot be read: its name is not <id>.<gender>.<age>.<topic>.<sign>.xml; give it its original name"
        )
    head = next(files.blocks(path), b"")
    if b"<blog>" not in head[:4096].lower():
        raise SourceError(f"{path} cannot be read: found no <Blog> at its start; expected a file of the Blog Authorship Corpus")
    return family, "xml"


def _json_fields(path: Path) -> list[set[str]]:
    """The field names of the first JSON objects of a file of lines; unreadable lines are skipped here (the reader keeps them)."""
    rows: list[set[str]] = []
    seen = read = 0
    for line in itertools.islice(files.lines(path), SNIFFED_LINES):
        seen, read = seen + 1, read + len(line)
        row = _object(line)
        if row is not None:
            rows.append(set(row))
        if read > SNIFFED_BYTES:
            break
    if not seen:
        raise SourceError(f"{path} is empty; download it again or take it out of the slice's `files`")
    if not rows:
        raise SourceError(f"{path} cannot be read: none of its first {seen} lines is a JSON object; expected one per line")
    return rows


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
