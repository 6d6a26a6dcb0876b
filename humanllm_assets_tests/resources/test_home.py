"""A disk that cannot take more is said in one sentence, whoever noticed it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import duckdb
import pytest
from sqlalchemy.exc import OperationalError

from resources import home
from resources.home import storage_problem


def wrapped(inner: Exception) -> Exception:
    """As Dagster and SQLAlchemy wrap what they were told."""
    try:
        try:
            raise inner
        except Exception as e:
            raise OperationalError("INSERT", {}, e) from e
    except OperationalError as e:
        return e


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        wrapped(sqlite3.OperationalError("database or disk is full")),
        duckdb.IOException('Could not write file "x.parquet": No space left on device'),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_full_disk_is_one_sentence_with_the_remedy(error: Exception, tmp_path: Path) -> None:
    problem = storage_problem(error, tmp_path)
    assert problem and "is full; free some space" in problem and str(tmp_path) in problem and "\n" not in problem


def test_an_input_output_error_means_a_full_disk_only_where_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = wrapped(sqlite3.OperationalError("disk I/O error"))
    assert storage_problem(error, tmp_path) is None
    monkeypatch.setattr(home, "_least_free", lambda root: 0)
    assert "is full" in str(storage_problem(error, tmp_path))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    assert storage_problem(ValueError("no"), tmp_path) is None
    assert storage_problem(OSError(errno.EACCES, "Permission denied", "/etc/shadow"), tmp_path) is None
    assert "cannot be written" in str(storage_problem(OSError(errno.EACCES, "Permission denied", str(tmp_path / "x")), tmp_path))
