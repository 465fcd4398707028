"""What the real worker refuses to index, this host refuses too, with the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.function_apps import ACCEPTED, REFUSED, write
from tests.localcloud.functions_hosts import index


@pytest.mark.parametrize(("source", "said"), REFUSED)
def test_the_app_is_refused(tmp_path: Path, source: str, said: str) -> None:
    write(tmp_path, source)

    assert said in index(tmp_path)


@pytest.mark.parametrize("source", ACCEPTED)
def test_the_app_is_indexed(tmp_path: Path, source: str) -> None:
    write(tmp_path, source, before="from __future__ import annotations\n")

    assert index(tmp_path) == "indexed f"
