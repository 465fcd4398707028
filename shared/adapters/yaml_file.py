"""YAML files, read strictly: a key given twice is an error, where plain YAML would silently drop one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from shared.errors import ConfigurationError


class UniqueKeys(yaml.SafeLoader):
    """SafeLoader, but a mapping with the same key twice is an error that names the key and its line."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See yaml.SafeLoader."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(getattr(key_node, "value", ""))
            if key in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: the key {key!r} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """The document of a file.  Raises ConfigurationError that names the file."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)
    except FileNotFoundError:
        raise ConfigurationError([f"{path.name}: there is no such file at {path}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path.name}: not YAML: {' '.join(str(error).split())}"]) from None
