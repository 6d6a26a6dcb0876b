"""Source files as bytes: finding them, telling how they are packed, and streaming their lines.

What belongs here: everything that knows about files and nothing about what their rows mean (that is `layouts.py` and the
sources' own modules). All functions stream: memory does not grow with the file, and a line may be of any length.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resources.errors import Explained

BLOCK_BYTES = 1 << 20
ZSTD_BLOCK_BYTES = 1 << 14  # of compressed bytes: they may unpack to a large multiple of themselves
ZSTD_WINDOW = 1 << 31  # official Pushshift dumps are packed with a window of 2 GiB
LONG_LINE_BYTES = 8 << 20  # a longer line is handed over by itself
MAX_LINE_BYTES = 32 << 20  # a longer line is no row: so much of its start is kept
UTF8_BOM = b"\xef\xbb\xbf"


class SourceError(Explained):
    """Source data that cannot be used; the message names the file or folder, what is wrong and the remedy."""


def missing(path: Path) -> SourceError:
    """The error of a file that is not there, or that is no file."""
    if path.exists():
        return SourceError(
            f"{path} is no regular file but a folder, pipe or device; put a file there or correct the slice's `files`"
        )
    return SourceError(f"the source file {path} does not exist; put it there or correct the slice's `files` in the profile")


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files under `folder` that match the glob patterns, sorted by path, each once.

    Hidden files and files in hidden folders (a name that begins with `.`, such as macOS's `._a.xml`) are left out unless a pattern
    names them so; `find_hidden` lists them. A name that lies there exactly is that file, whatever characters it has.

    Raises:
        SourceError: the folder does not exist, a pattern is an absolute name or matches no file, or what it matches cannot be read.
    """
    return _find(folder, patterns)[0]


def find_hidden(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The hidden files that `find_files` leaves out, sorted by path."""
    return _find(folder, patterns)[1]


def _find(folder: Path, patterns: Sequence[str]) -> tuple[list[Path], list[Path]]:
    if not folder.is_dir():
        raise SourceError(f"the source folder {folder} does not exist; put the files there or correct `folder` in the profile")
    found: set[Path] = set()
    hidden: set[Path] = set()
    for pattern in patterns:
        matches = [path for path in _match(folder, pattern) if not path.is_dir()]
        dotted = any(part.startswith(".") for part in Path(pattern).parts)
        seen = {path for path in matches if dotted or not _is_hidden(path.relative_to(folder))}
        if not seen:
            only = f" but hidden ones such as {matches[0].name}" if matches else ""
            raise SourceError(f"no file in {folder} matches `{pattern}`{only}; put one there or correct the slice in the profile")
        found |= seen
        hidden |= {*matches} - seen
    for path in sorted(found):
        if not path.is_file():
            raise missing(path)
        if not os.access(path, os.R_OK):
            raise SourceError(f"{path} may not be read by this user; change its permissions")
    return sorted(found), sorted(hidden - found)


def _match(folder: Path, pattern: str) -> list[Path]:
    if Path(pattern).is_absolute():
        raise SourceError(
            f"`{pattern}` is an absolute name, but files are named below {folder}; name it relative to that folder, or correct "
            "`folder` in the profile"
        )
    if os.path.lexists(folder / pattern):  # `a[1].zst` as it stands, which as a pattern would be `a1.zst`
        return [folder / pattern]
    return list(folder.glob(pattern))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


# ---- packings --------------------------------------------------------------------------------------------------------


class _Packing(NamedTuple):
    """How files are packed: what their names end in, what their bytes begin with."""

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    remedy: str = ""
    """What to do about it where it is not read."""


_UNPACK = "unpack it and put the unpacked files there"
_PACKINGS = (
    _Packing("gzip", (".gz",), b"\x1f\x8b"),
    _Packing("zstd", (".zst", ".zstd"), b"\x28\xb5\x2f\xfd"),
    _Packing("bzip2", (".bz2",), b"BZh"),
    _Packing("xz", (".xz",), b"\xfd7zXZ\x00"),
    _Packing("Parquet", (".parquet",), b"PAR1"),
    _Packing("lz4", (".lz4",), b"\x04\x22\x4d\x18", "unpack it with `lz4 -d`, or pack it with zstd"),
    _Packing("zip", (".zip",), b"PK\x03\x04", _UNPACK),
    _Packing("7z", (".7z",), b"7z\xbc\xaf\x27\x1c", _UNPACK),
    _Packing("rar", (".rar",), b"Rar!\x1a\x07", _UNPACK),
    _Packing("compress", (".z",), b"\x1f\x9d", _UNPACK),
    _Packing("snappy", (".snappy", ".sz"), b"\xff\x06\x00\x00sNaPpY", _UNPACK),
    _Packing("brotli", (".br",), b"\x00no magic", _UNPACK),
    _Packing("tar", (".tar", ".tgz", ".tbz2", ".txz"), b"\x00no magic at its start", _UNPACK),
    _Packing(
        "zst_blocks", (".zst_blocks",), b"\x00no magic", "unpack it with the tools of the Arctic Shift archive to lines of JSON"
    ),
)
_PACKED_SUFFIX = {".gz": ".gz", ".zst": ".zst", ".zstd": ".zst", ".bz2": ".bz2", ".xz": ".xz"}
_TAR = (257, b"ustar")
_SKIPPABLE = tuple(bytes([0x50 + i, 0x2A, 0x4D, 0x18]) for i in range(16))  # a zstd file may begin with frames of no content


def split_suffix(path: Path) -> tuple[str, str]:
    """What a file holds and how it is packed, as its name says: (`.csv`, `.gz`), (`.ndjson`, ``); in lower case."""
    packing = _PACKED_SUFFIX.get(path.suffix.lower(), "")
    return (Path(path.stem).suffix.lower() if packing else path.suffix.lower()), packing


def check_packing(path: Path) -> None:
    """Make sure that a file is packed as its name says, in a way that is read here, and that its text is not UTF-16.

    Raises:
        SourceError: it is not, or the file is missing or broken at its start.
    """
    if not path.is_file():
        raise missing(path)
    by_name = _packing_of(path)
    if by_name and by_name.remedy:
        raise SourceError(f"{path} is packed with {by_name.name}, which is not read here; {by_name.remedy}")
    head = next(_plain_blocks(path), b"")
    found = _packing_in(head)
    if found and found.remedy:
        raise SourceError(f"{path} is packed with {found.name}, which is not read here; {found.remedy}")
    if found and found is not by_name:
        said = f"its name says {by_name.name}" if by_name else f"its name does not end in {found.suffixes[0]}"
        raise SourceError(f"{path} is a {found.name} file, but {said}; give it its right name or download it again")
    if by_name and not found and head:
        raise SourceError(f"{path} is not a {by_name.name} file as its name says; give it its right name or download it again")
    if by_name and by_name.name == "Parquet":
        return
    head = next(blocks(path), b"") if by_name else head
    if inner := _packing_in(head) if by_name else None:
        raise SourceError(f"{path} holds a {inner.name} file; {inner.remedy or 'unpack it once and give it its right name'}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:4096].count(b"\x00") > len(head[:4096]) // 4:
        raise SourceError(f"{path} cannot be read: it is UTF-16; store it in UTF-8, such as with `iconv -f UTF-16 -t UTF-8`")


def _packing_of(path: Path) -> _Packing | None:
    suffix = path.suffix.lower()
    return next((packing for packing in _PACKINGS if suffix in packing.suffixes), None)


def _packing_in(head: bytes) -> _Packing | None:
    at, mark = _TAR
    name = "tar" if head[at : at + len(mark)] == mark else "zstd" if head.startswith(_SKIPPABLE) else ""
    return next((packing for packing in _PACKINGS if packing.name == name or head.startswith(packing.magic)), None)


# ---- bytes -----------------------------------------------------------------------------------------------------------


def blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked as its name says (`.gz`, `.zst`, `.zstd`, `.bz2`, `.xz`), in blocks of bounded size.

    Members and frames that follow each other are one text.

    Raises:
        SourceError: the file does not exist, cannot be read, is not what its name says, or is cut off.
    """
    packing = split_suffix(path)[1]
    if packing == ".zst":
        return _zstd_blocks(path)
    return _opened_blocks(path, packing) if packing else _plain_blocks(path)


def _plain_blocks(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise missing(path)
    try:
        with path.open("rb") as handle:
            while block := handle.read(BLOCK_BYTES):
                yield block
    except OSError as e:
        raise SourceError(f"{path} cannot be read ({e.strerror or e}); check its permissions and the disk") from e


_OPENERS = {".gz": ("gzip", gzip.GzipFile), ".bz2": ("bzip2", bz2.BZ2File), ".xz": ("xz", lzma.LZMAFile)}


def _opened_blocks(path: Path, packing: str) -> Iterator[bytes]:
    if not path.is_file():
        raise missing(path)
    name, open_packed = _OPENERS[packing]
    try:
        with open_packed(path) as handle:
            while block := handle.read(BLOCK_BYTES):
                yield block
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as e:
        raise SourceError(f"{path} is not a complete {name} file ({e}); download it again") from e


def _zstd_blocks(path: Path) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = None
    try:
        for packed in _split(_plain_blocks(path), ZSTD_BLOCK_BYTES):
            while packed:  # a file may hold several frames, one behind the other
                frame = frame or decompressor.decompressobj()
                yield from _split(iter([frame.decompress(packed)]), BLOCK_BYTES)
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


# ---- lines -----------------------------------------------------------------------------------------------------------


class LongLine(NamedTuple):
    """A line of more than `LONG_LINE_BYTES`, without its end; of one of more than `MAX_LINE_BYTES` only the start."""

    data: bytes
    size: int

    @property
    def is_whole(self) -> bool:
        return self.size == len(self.data)


def _whole_lines(stream: Iterator[bytes]) -> Iterator[bytes | LongLine]:
    """The stream in pieces of whole lines, each line with its end (the last one gets one too); long lines by themselves.

    A byte order mark at the start is left out, and blanks before the first character of a line where a block begins with them: however
    many there are, they mean nothing to a line that stands for a record.
    """
    started: list[bytes] = []  # of a line whose end has not been seen
    size, first = 0, True
    for block in stream:
        if first:
            block, first = block.removeprefix(UTF8_BOM), False
        if not size:
            block = block.lstrip(_BLANKS_IN_LINE)
        end = block.find(b"\n")
        if end < 0:
            started = _keep(started, size, block)
            size += len(block)
            continue
        if size + end > LONG_LINE_BYTES:
            yield LongLine(b"".join(_keep(started, size, block[:end])), size + end)
            started, begin = [], end + 1
        else:
            begin = 0
        last = block.rfind(b"\n") + 1
        if last > begin:
            yield b"".join([*started, block[begin:last]])
        rest = block[last:].lstrip(_BLANKS_IN_LINE)
        started, size = [rest], len(rest)
    if size > LONG_LINE_BYTES:
        yield LongLine(b"".join(started), size)
    elif size:
        yield b"".join(started) + b"\n"


def _keep(started: list[bytes], size: int, more: bytes) -> list[bytes]:
    """A started line of so many bytes, and more of it, as far as it is kept."""
    if size < MAX_LINE_BYTES:
        started.append(more[: MAX_LINE_BYTES - size])
    return started


def lines(path: Path) -> Iterator[bytes]:
    """The file's lines without their line ends, unpacked; a byte order mark at the start is left out.

    Of a line of more than `MAX_LINE_BYTES` only so much is given.
    """
    for piece in _whole_lines(blocks(path)):
        if isinstance(piece, LongLine):
            yield piece.data.removesuffix(b"\r")
        else:
            for line in piece.split(b"\n")[:-1]:
                yield line.removesuffix(b"\r")


def record_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that stand for a record each, with their numbers from 1: all that are not blank."""
    for number, line in enumerate(lines(path), start=1):
        if line and not line.isspace():
            yield number, line


def count_record_lines(path: Path) -> int:
    """How many lines are not blank, counted from the unpacked bytes without cutting them into lines."""
    rows, blank = 0, True  # of the line that is open
    for number, block in enumerate(blocks(path)):
        block = block if number else block.removeprefix(UTF8_BOM)
        begin, end = 0, block.find(b"\n")
        while end >= 0:
            rows += not blank or not _is_blank(block, begin, end)
            begin, blank = end + 1, True
            end = block.find(b"\n", begin)
        blank = blank and _is_blank(block, begin, len(block))
    return rows + (not blank)


def _is_blank(block: bytes, begin: int, end: int) -> bool:
    if begin == end:
        return True
    return block[begin] in _BLANKS and block[begin:end].isspace()


_BLANKS_IN_LINE = b" \t\r\x0b\x0c"
_BLANKS = frozenset(b"\n" + _BLANKS_IN_LINE)


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
    """A run of whole lines of a file, written to a plain file of its own (`path`), or one long line by itself (`long`).

    `first_line` is the 1-based number of its first line; `lines` counts them, blank ones included.
    """

    path: Path
    first_line: int
    lines: int
    long: LongLine | None = None


def chunks(path: Path, target: Path, max_bytes: int) -> Iterator[Chunk]:
    """Cut a file of lines into plain files of about `max_bytes`, one at a time: `target` is written anew when the next is asked for."""
    import numpy as np

    first_line, pieces = 1, _whole_lines(blocks(path))
    try:
        while True:
            size = rows = 0
            ended, long = True, None
            with target.open("wb") as out:
                for piece in pieces:
                    if isinstance(piece, LongLine):
                        long = piece
                    else:
                        size += out.write(piece)
                        rows += int(np.count_nonzero(np.frombuffer(piece, np.uint8) == 10))  # ten times as fast as bytes.count
                    if long or size >= max_bytes:
                        ended = False
                        break
            if rows:
                yield Chunk(target, first_line, rows)
                first_line += rows
            if long:
                yield Chunk(target, first_line, 1, long)
                first_line += 1
            if ended:
                return
    finally:
        target.unlink(missing_ok=True)
