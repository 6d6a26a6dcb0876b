"""One partition of one asset, as everything here names it: in memory, on disk, and in what people write.

    Item("user_profiles", "reddit")   user_profiles[reddit]   snapshots/user_profiles/reddit
    Item("amazon_core")               amazon_core             snapshots/amazon_core/all

What belongs here: the name alone. What does not: which partitions an asset has (`nodes.py`).
Concept: https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from __future__ import annotations

import re
from typing import NamedTuple

NO_PARTITION = ""  # the one partition of an unpartitioned asset
UNPARTITIONED = "all"  # its folder's name
_WRITTEN = re.compile(r"([^\[\]]+)(?:\[(.+)\])?")


class Item(NamedTuple):
    """One partition of one asset; it equals the bare pair of both."""

    asset: str
    partition: str = NO_PARTITION

    def __str__(self) -> str:
        """`asset[partition]`, or `asset` alone: what messages show and commands take."""
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset

    @property
    def folder(self) -> str:
        """The partition as a file or folder is named."""
        return self.partition or UNPARTITIONED

    @classmethod
    def of_folder(cls, asset: str, folder: str) -> Item:
        """The way back. A partition that is itself called `all` has the same folder; compare folders to know it."""
        return cls(asset, NO_PARTITION if folder == UNPARTITIONED else folder)

    @classmethod
    def parse(cls, text: str) -> Item | None:
        """What a person wrote; None when it is neither `asset` nor `asset[partition]`."""
        found = _WRITTEN.fullmatch(text)
        return cls(found[1], found[2] or NO_PARTITION) if found else None
