"""The host's keys: master, host, function and system keys, kept in `keys.json` of the state folder."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

EVENT_GRID = "eventgrid_extension"


def presented(request: web.BaseRequest) -> str:
    """The key that a request shows: the header wins over `?code=`."""
    return request.headers.get("x-functions-key") or request.query.get("code", "")


class Keys:
    """Keys are made when they are first needed, and stay."""

    def __init__(self, state: Path) -> None:
        self._path = state / "keys.json"
        known: dict[str, Any] = {}
        if self._path.exists():
            known = json.loads(self._path.read_text(encoding="utf-8"))
        self._keys: dict[str, dict[str, str]] = known.get("keys", {})
        self.master: str = known.get("master") or _new()
        self.host()
        self._save()

    def host(self) -> dict[str, str]:
        """The host keys, good for every function."""
        return self._section("host", "default")

    def system(self, name: str | None = None) -> dict[str, str]:
        """The system keys; `name` is made when it does not exist."""
        return self._section("system", name)

    def function(self, function: str) -> dict[str, str]:
        """The keys of one function."""
        return self._section(f"function:{function}", "default")

    def is_master(self, key: str) -> bool:
        """Whether `key` is the master key."""
        return secrets.compare_digest(key.encode(), self.master.encode())

    def opens_system(self, key: str, name: str) -> bool:
        """Whether `key` opens the extension endpoint that the system key `name` guards."""
        return self.is_master(key) or _among(key, [self.system(name)[name]])

    def opens_function(self, key: str, function: str) -> bool:
        """Whether `key` opens `function` at authLevel function."""
        return self.is_master(key) or _among(key, [*self.function(function).values(), *self.host().values()])

    def _section(self, section: str, wanted: str | None) -> dict[str, str]:
        keys = self._keys.setdefault(section, {})
        if wanted and wanted not in keys:
            keys[wanted] = _new()
            self._save()
        return dict(keys)

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps({"master": self.master, "keys": self._keys}, indent=2), encoding="utf-8")
        draft.chmod(0o600)
        os.replace(draft, self._path)


def _new() -> str:
    return secrets.token_urlsafe(36)


def _among(key: str, keys: Iterable[str]) -> bool:
    return any(secrets.compare_digest(key.encode(), known.encode()) for known in keys)
