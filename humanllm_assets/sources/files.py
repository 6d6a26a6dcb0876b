"""Source files as bytes: finding them, and streaming their lines whatever they are compressed with.

What belongs here: everything that knows about files and nothing about what their rows mean (that is `layouts.py` and the
sources' own modules). All functions stream: memory does not grow with the file.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.errors import Explained

BLOCK_BYTES = 1 << 20
ZSTD_BLOCK_BYTES = 1 << 16  # of compressed bytes: a block may unpack to a large multiple of itself
ZSTD_WINDOW = 1 << 31  # official Pushshift dumps are packed with a window of 2 GiB
UTF8_BOM = b"\xef\xbb\xbf"


class SourceError(Explained):
    """Source data that cannot be used; the message names the file or folder, what is wrong and the remedy."""


def missing(path: Path) -> SourceError:
    """The error of a file that is not there."""
    return SourceError(f"the source file {path} does not exist; put it there or correct the slice's `files` in the profile")


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files under `folder` that match the glob patterns, sorted by path, each once.

    Raises:
        SourceError: the folder does not exist, or one of the patterns matches no file.
    """
    if not folder.is_dir():
        raise SourceError(f"the source folder {folder} does not exist; put the files there or correct `folder` in the profile")
    found: set[Path] = set()
    for pattern in patterns:
        matches = [path for path in folder.glob(pattern) if path.is_file()]
        if not matches:
            raise SourceError(f"no file in {folder} matches `{pattern}`; put one there or correct the slice in the profile")
        found.update(matches)
    return sorted(found)


def blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked when its name ends in `.gz`, `.zst` or `.zstd`, in blocks of bounded size.

    Raises:
        SourceError: the file does not exist, is not what its name says, or is cut off.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        yield from _gzip_blocks(path)
    elif suffix in (".zst", ".zstd"):
        yield from _zstd_blocks(path)
    else:
        yield from _plain_blocks(path)


def _plain_blocks(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise missing(path)
    with path.open("rb") as handle:
        while block := handle.read(BLOCK_BYTES):
            yield block


def _gzip_blocks(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as handle:
            while block := handle.read(BLOCK_BYTES):
                yield block
    except FileNotFoundError as e:
        raise missing(path) from e
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise SourceError(f"{path} is not a complete gzip file ({e}); download it again") from e


def _zstd_blocks(path: Path) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = None
    try:
        for packed in _split(_plain_blocks(path), ZSTD_BLOCK_BYTES):
            while packed:  # a file may hold several frames, one behind the other
                frame = frame or decompressor.decompressobj()
                if unpacked := frame.decompress(packed):
                    yield unpacked
                packed = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    except zstandard.ZstdError as e:
        raise SourceError(f"{path} is not a valid zstd file ({e}); download it again") from e
    if frame is not None:
        raise SourceError(f"{path} is cut off: its last zstd frame has no end; download it again")


def _split(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    for part in parts:
        for start in range(0, len(part), size):
            yield part[start : start + size]


def lines(path: Path) -> Iterator[bytes]:
    """The file's lines without their line ends, unpacked; a byte order mark at the start is left out."""
    rest, first = b"", True
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield (line.removeprefix(UTF8_BOM) if first else line).removesuffix(b"\r")
            first = False
    if rest:
        yield (rest.removeprefix(UTF8_BOM) if first else rest).removesuffix(b"\r")


def record_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that stand for a record each, with their numbers from 1: all that are not blank."""
    for number, line in enumerate(lines(path), start=1):
        if line.strip():
            yield number, line


def refuse_utf16(path: Path, head: bytes) -> None:
    """Make sure that a file that begins with these bytes is not in UTF-16, which reads like text with NULs.

    Raises:
        SourceError: it is.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:4096].count(b"\x00") > len(head[:4096]) // 4:
        raise SourceError(f"{path} cannot be read: it is stored in UTF-16; store it in UTF-8")


def decode(data: bytes) -> str:
    """Text stored in UTF-8, in cp1252, or piece by piece in both; NULs are left out.

    What is no UTF-8 is read as cp1252, of which Latin-1 fills the five bytes that it leaves open.
    """
    return data.replace(b"\x00", b"").decode("utf-8", _AS_CP1252)


def _cp1252(code: int) -> str:
    byte = bytes([code])
    return byte.decode("latin-1") if code in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else byte.decode("cp1252")


CP1252 = "".join(map(_cp1252, range(256)))
"""The characters of cp1252 by code, the open ones from Latin-1."""
_AS_CP1252 = "humanllm_cp1252"  # what `codecs` knows the error handler by
_CP1252_TABLE = dict(enumerate(CP1252))
_NO_UTF8 = re.compile(  # as many bytes at once as begin no character of UTF-8
    rb"(?:(?![\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})[\x80-\xff])+"
)


def _read_as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    found = _NO_UTF8.match(error.object, error.start)
    end = found.end() if found else error.end
    return error.object[error.start : end].decode("latin-1").translate(_CP1252_TABLE), end


codecs.register_error(_AS_CP1252, _read_as_cp1252)


@dataclass(frozen=True)
class Chunk:
    """A run of whole lines written to a file of its own. `first_line` is 1-based; `rows` counts the lines."""

    path: Path
    first_line: int
    rows: int


def chunks(path: Path, workdir: Path, max_bytes: int) -> Iterator[Chunk]:
    """Cut a file of lines into plain files of about `max_bytes`, one at a time: each is replaced when the next is asked for."""
    workdir.mkdir(parents=True, exist_ok=True)
    target = workdir / "chunk.ndjson"
    first_line, tail, stream = 1, b"", blocks(path)
    try:
        while True:
            size, rows, ended = 0, 0, True
            with target.open("wb") as out:
                for block in stream:
                    if first_line == 1 and size == 0 and not tail:
                        block = block.removeprefix(UTF8_BOM)
                    head, newline, rest = block.rpartition(b"\n")
                    if not newline:
                        tail += block
                        continue
                    size += out.write(tail + head + newline)
                    rows += head.count(b"\n") + 1
                    tail = rest
                    if size >= max_bytes:
                        ended = False
                        break
                if ended and tail:
                    out.write(tail + b"\n")
                    rows, tail = rows + 1, b""
            if rows:
                yield Chunk(target, first_line, rows)
            if ended:
                return
            first_line += rows
    finally:
        target.unlink(missing_ok=True)
