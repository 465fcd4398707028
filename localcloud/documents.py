"""JSON documents in a folder, one file each: what a service must still know after a restart."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

Document = dict[str, Any]


class Documents:
    """The documents of one kind.  A reader sees a whole document or none: files are written aside and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[str, Document] | None = None

    def get(self, name: str) -> Document | None:
        """The document called `name`; changes to it last only when it is `put` again."""
        return self._all().get(name)

    def put(self, name: str, document: Document) -> Document:
        """Store `document` under `name`, replacing what was there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as file:
            json.dump(document, file)
        os.replace(file.name, self._path(name))
        self._all()[name] = document
        return document

    def delete(self, name: str) -> Document | None:
        """Remove `name` and answer what it was, or None."""
        self._path(name).unlink(missing_ok=True)
        return self._all().pop(name, None)

    def items(self) -> list[tuple[str, Document]]:
        """Every name with its document, sorted by name."""
        return sorted(self._all().items())

    def __iter__(self) -> Iterator[Document]:
        return (document for _, document in self.items())

    def __contains__(self, name: str) -> bool:
        return name in self._all()

    def _path(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.json"

    def _all(self) -> dict[str, Document]:
        if self._loaded is None:
            files = self._folder.glob("*.json") if self._folder.exists() else ()
            self._loaded = {unquote(file.stem): json.loads(file.read_text(encoding="utf-8")) for file in files}
        return self._loaded
