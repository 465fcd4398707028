"""The app's settings: `local.settings.json` laid under the process environment, and the lookups that triggers make."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_PLACEHOLDER = re.compile(r"%([^%]+)%")
_DEVELOPMENT_ACCOUNT = "devstoreaccount1"
_DEVELOPMENT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class SettingsError(Exception):
    """A setting is missing or malformed; the message names it and says what to do."""


def lay_under(environ: MutableMapping[str, str], path: Path) -> list[str]:
    """Put the `Values` of the settings file at `path` into `environ`; what is already there wins.

    Returns the names that were skipped because the environment holds another value.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file: pass --settings FILE, or copy local.settings.sample.json") from None
    except ValueError as error:
        raise SettingsError(f"{path}: not valid JSON: {error}") from None
    values = document.get("Values", {}) if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise SettingsError(f'{path}: must be an object with an object "Values"')
    if document.get("IsEncrypted"):
        raise SettingsError(f"{path}: is encrypted: run `func settings decrypt` first")
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise SettingsError(f'{path}: "Values" must be strings, these are not: {", ".join(wrong)}')
    skipped = [name for name, value in values.items() if environ.get(name, value) != value]
    for name, value in values.items():
        environ.setdefault(name, value)
    return skipped


def timespan(text: object, *, name: str) -> float:
    """Seconds of a .NET time span (`[d.]hh:mm:ss[.fff]`); a plain number is taken as milliseconds."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return text / 1000
    match = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)", text) if isinstance(text, str) else None
    if match is None:
        raise SettingsError(f"{name}: {text!r} is not a time span: write hh:mm:ss")
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@dataclasses.dataclass(frozen=True)
class StorageConnection:
    """Where a storage account is: by connection string, or by address and identity."""

    name: str
    connection_string: str | None = None
    blob_url: str | None = None
    queue_url: str | None = None


@dataclasses.dataclass(frozen=True)
class HubConnection:
    """Where an Event Hubs namespace is: by connection string, or by its host name and identity."""

    name: str
    connection_string: str | None = None
    host: str | None = None

    @property
    def namespace(self) -> str:
        """The namespace's host name."""
        found = re.search(r"Endpoint=\w+://([^/;:]+)", self.connection_string or "")
        return self.host or (found[1] if found else "")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings that the app and the host read, with the host's own ways of looking them up."""

    values: Mapping[str, str]

    def resolve(self, text: str) -> str:
        """`text` with each `%NAME%` replaced; raises SettingsError when a name has no value."""

        def value(match: re.Match[str]) -> str:
            found = self.values.get(match.group(1))
            if not found:
                raise SettingsError(f"'%{match.group(1)}%' does not resolve to a value: add the setting to Values")
            return found

        return _PLACEHOLDER.sub(value, text)

    def seconds(self, name: str, default: float) -> float:
        """The number of seconds in a setting of this host."""
        text = self.values.get(name) or str(default)
        try:
            return float(text)
        except ValueError:
            raise SettingsError(f"{name}: {text!r} is not a number of seconds") from None

    def disabled(self, function: str) -> bool:
        """Whether `AzureWebJobs.<function>.Disabled` says so."""
        for name in (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled"):
            if self.values.get(name, "").strip().lower() in {"true", "1"}:
                return True
        return False

    def storage(self, connection: str | None) -> StorageConnection:
        """The storage connection called `connection`, looked up in the host's order."""
        name = self.resolve(connection or "AzureWebJobsStorage")
        for prefix in _prefixes(name):
            value = self._value(prefix)
            if value:
                return StorageConnection(name, connection_string=_expand(value))
            section = self._section(prefix, name)
            if section:
                return section
        raise SettingsError(
            f"storage connection {name!r} is not configured: set {name} to a connection string, "
            f"or {name}__accountName for access by identity"
        )

    def hub(self, connection: str) -> HubConnection:
        """The Event Hubs connection called `connection`, looked up in the host's order."""
        name = self.resolve(connection)
        for prefix in _prefixes(name):
            if value := self._value(prefix):
                if "Endpoint=" not in value:
                    raise SettingsError(f"event hub connection {name!r} is no connection string: it has no Endpoint")
                return HubConnection(name, connection_string=value)
            if host := self._value(f"{prefix}__fullyQualifiedNamespace"):
                return HubConnection(name, host=host)
        raise SettingsError(
            f"event hub connection {name!r} is not configured: set {name} to a connection string, "
            f"or {name}__fullyQualifiedNamespace for access by identity"
        )

    def _value(self, name: str) -> str | None:
        return self.values.get(name) or self.values.get(name.replace("__", ":"))

    def _section(self, prefix: str, name: str) -> StorageConnection | None:
        account = self._value(f"{prefix}__accountName")
        blob = self._value(f"{prefix}__blobServiceUri")
        queue = self._value(f"{prefix}__queueServiceUri")
        if account:
            blob = blob or f"https://{account}.blob.core.windows.net"
            queue = queue or f"https://{account}.queue.core.windows.net"
        return StorageConnection(name, blob_url=blob, queue_url=queue) if blob or queue else None


def _prefixes(name: str) -> tuple[str, ...]:
    """Where a connection is looked for, in order."""
    return (f"ConnectionStrings__AzureWebJobs{name}", f"AzureWebJobs{name}", f"ConnectionStrings__{name}", name)


def _expand(connection_string: str) -> str:
    if connection_string.strip().rstrip(";").lower() != "usedevelopmentstorage=true":
        return connection_string
    endpoints = (("Blob", 10000), ("Queue", 10001), ("Table", 10002))
    addresses = ";".join(f"{kind}Endpoint=http://127.0.0.1:{port}/{_DEVELOPMENT_ACCOUNT}" for kind, port in endpoints)
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_DEVELOPMENT_ACCOUNT};AccountKey={_DEVELOPMENT_KEY};{addresses};"
    )
