"""Versions and rows of Delta tables by their logs, as the Delta library itself writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arro3.core import Array, DataType, Table
from deltalake import DeltaTable, write_deltalake

from shared.adapters.delta_log import DeltaTables
from shared.errors import NotFound


class Folder:
    """A lake in a folder."""

    def read(self, uri: str) -> bytes:
        if not Path(uri).is_file():
            raise NotFound(uri)
        return Path(uri).read_bytes()

    def names(self, uri: str) -> list[str]:
        found = (path for path in Path(uri).rglob("*") if path.is_file())
        return sorted(path.relative_to(uri).as_posix() for path in found)


TABLES = DeltaTables(Folder())


def write(at: Path, rows: int, mode: str = "append") -> None:
    write_deltalake(at, Table.from_pydict({"x": Array([*range(rows)], DataType.int64())}), mode=mode)  # type: ignore[call-overload]


def test_the_rows_of_each_version_are_those_that_the_library_counts(tmp_path: Path) -> None:
    for rows, mode in ((5, "append"), (7, "append"), (3, "overwrite"), (4, "append")):
        write(tmp_path, rows, mode)
    DeltaTable(tmp_path).optimize.compact()
    counted = [DeltaTable(tmp_path, version=version).count() for version in range(5)]
    assert counted == [5, 12, 3, 7, 7]
    assert [TABLES.rows(str(tmp_path), version) for version in range(5)] == counted


def test_the_newest_version_is_that_of_the_newest_commit(tmp_path: Path) -> None:
    assert TABLES.newest(str(tmp_path)) is None
    write(tmp_path, 5)
    write(tmp_path, 5)
    (tmp_path / "_delta_log" / "_last_checkpoint").write_text("{}")
    assert TABLES.newest(f"{tmp_path}/") == 1


def test_a_full_overwrite_needs_no_older_commit(tmp_path: Path) -> None:
    write(tmp_path, 5)
    write(tmp_path, 3, "overwrite")
    write(tmp_path, 1)
    (tmp_path / "_delta_log" / f"{0:020d}.json").unlink()
    assert TABLES.rows(str(tmp_path), 2) == 4
    assert TABLES.rows(str(tmp_path), 0) is None


@pytest.mark.parametrize("line", [json.dumps({"add": {"path": "a"}}), "not json", json.dumps({"add": {"stats": "{}"}})])
def test_a_log_that_does_not_say_leaves_the_count_unknown(tmp_path: Path, line: str) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()
    (log / f"{0:020d}.json").write_text(line)
    assert TABLES.rows(str(tmp_path), 0) is None
