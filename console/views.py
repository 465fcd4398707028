"""How answers look to a person: tables and trees, calm colours, nothing cut that one would copy."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

Row = Mapping[str, Any]

_COLOURS = {
    "routed": "green",
    "succeeded": "green",
    "ignored": "bright_black",
    "skipped": "bright_black",
    "duplicate": "blue",
    "collecting": "blue",
    "preparing": "cyan",
    "starting": "cyan",
    "running": "cyan",
    "waiting": "yellow",
    "approval": "magenta",
    "queued": "cyan",
    "cancelled": "yellow",
    "rejected": "red",
    "failed": "red",
    "promoted": "green",
    "success": "green",
    "rolled back": "red",
    "failure": "red",
    "stopped": "yellow",
    "inconclusive": "yellow",
}
_WIDE = 1000
_HIDDEN = ("seconds", "notes", "qa", "traffic", "gates", "approvals")
"""Results that are too long for a tree; `--json` has them."""


def console() -> Console:
    """The terminal; what goes into a file or a pipe is not cut to a terminal's width."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def status(answer: Row) -> None:
    """What runs, and how much there is."""
    out = console()
    _heading(out, answer)
    for part in answer["processes"]:
        alive = Text("running", "green") if part["alive"] else Text("gone", "red")
        since = dt.datetime.fromtimestamp(part["created"], dt.UTC).astimezone().strftime("%d %b %H:%M:%S")
        out.print(Text(f"  {part['name']:12}"), alive, Text(f"process {part['pid']}, since {since}", "bright_black"))
    host = answer["host"]
    if host:
        out.print(Text(f"  {'host':12}"), Text(str(host["state"]), "green" if host.get("healthy") else "red"))
        health = host.get("health")
        for fault in [*host.get("errors", ()), *(health.get("faults", ()) if isinstance(health, Mapping) else ())]:
            out.print(Text(f"  {'':12} {fault}", "red"))
    _store(out, answer)
    for name in ("settings", "logs"):
        if name in answer:
            out.print(f"  {name:12} {answer[name]}", style="bright_black", soft_wrap=True)


def _store(out: Console, answer: Row) -> None:
    """The rules in force and how much there is, or why that cannot be told."""
    if "problem" in answer:
        out.print(Text(f"\n  {answer['problem']}", "red"))
        return
    health = answer["health"]
    out.print(f"\n  store        {health['store']}, rules {health['rules']}: {', '.join(health['routes'])}")
    out.print("  deliveries  ", _counts(answer["deliveries"]))
    out.print("  runs        ", _counts(answer["runs"]) if answer["runs"] else Text("none yet", "bright_black"))


def _heading(out: Console, answer: Row) -> None:
    what = f"local cloud {answer['cloud']}" if answer["cloud"] else "control plane"
    verdict = Text("in order", "bold green") if answer["ok"] else Text("not in order", "bold red")
    out.print(Text(f"Sluice, {what}:", "bold"), verdict)


def events(rows: Sequence[Row]) -> None:
    """The newest deliveries."""
    if not rows:
        console().print("no deliveries", style="bright_black")
        return
    table = _table("received", "outcome", "type", "event", "reason")
    for row in rows:
        type_ = str(row["type"] or "").removeprefix("Microsoft.")
        table.add_row(_time(row["received"]), _phase(row["outcome"]), type_, str(row["id"] or "-"), _plain(row))
    console().print(table)


def _plain(row: Row) -> Text:
    text = Text(str(row["reason"]))
    if row["subject"]:
        text.append(f"\n{row['subject']}", "bright_black")
    return text


def runs(rows: Sequence[Row]) -> None:
    """Every run."""
    if not rows:
        console().print("no runs yet", style="bright_black")
        return
    table = _table("created", "took", "run", "phase", "remote", "reason")
    for row in rows:
        remote = row["remote"]["id"] if row["remote"] else "-"
        name = f"{row['run']}" + (f" (attempt {row['attempt']})" if row["attempt"] > 1 else "")
        table.add_row(_time(row["created"]), _took(row), name, _phase(row["phase"]), remote, str(row["reason"]))
    console().print(table)


def lanes(rows: Sequence[Row]) -> None:
    """Every lane."""
    if not rows:
        console().print("no lanes yet", style="bright_black")
        return
    table = _table("route", "key", "generation", "collecting", "runs", "waits until")
    for row in rows:
        held = f"{row['collecting']} event(s)" if row["collecting"] else "-"
        runs = [(word, row[word]) for word in ("running", "queued", "approval") if row[word]]
        busy = "; ".join(f"{word} {', '.join(map(str, numbers))}" for word, numbers in runs) or "-"
        until = _time(row["waits_until"]) if row["waits_until"] else "-"
        table.add_row(row["route"], row["key"], str(row["generation"]), held, busy, until)
    console().print(table)


def explain(answer: Row) -> None:
    """From an event to all that came of it, and back."""
    first = answer["deliveries"][0]
    tree = Tree(f"[bold]{escape(str(first['type']))}[/bold]  {escape(answer['event'])}", guide_style="bright_black")
    if first["subject"]:
        tree.add(Text(str(first["subject"]), "bright_black"))
    for delivery in answer["deliveries"]:
        origin = Text(f"  by {delivery['origin']}: {delivery['reason']}", "bright_black")
        tree.add(Text.assemble("delivered ", _time(delivery["received"]), "  ", _phase(delivery["outcome"]), origin))
    if answer["because"]:
        _because(tree.add("[bold]because[/bold]"), answer["because"])
    if answer["led_to"]:
        _led_to(tree.add("[bold]led to[/bold]"), answer["led_to"])
    console().print(tree)


def said(answer: Row) -> None:
    """What a command did, in its own words."""
    console().print(answer["said"], markup=False)


def evidence(answer: Row) -> None:
    """Every record of an endpoint, the newest first, with what was measured and who decided; and every break."""
    out = console()
    verdict = Text("whole", "bold green") if answer["ok"] else Text("broken", "bold red")
    out.print(Text(f"The evidence of {answer['endpoint']}, {len(answer['records'])} record(s):", "bold"), verdict)
    for fault in answer["faults"]:
        out.print(Text(f"  {fault}", "red"))
    for record in answer["records"]:
        out.print(_record(record))


def _record(record: Row) -> Tree:
    if "unreadable" in record:
        return Tree(Text(f"unreadable: {record['unreadable']}", "red"))
    what = f"{record.get('model', '?')} version {record.get('model_version', '?')}"
    tree = Tree(Text.assemble((f"{record['number']}  ", "bold"), _phase(record["outcome"]), f"  {what}"))
    tree.add(Text.assemble(_time(record["ended"]), f"  run {record['run']}, {record['digest']}"))
    if record["reason"]:
        tree.add(Text(str(record["reason"])))
    known = (("Azure ML job", "azureml_job"), ("data version", "gold_version"), ("hash", "sha256"))
    said = "  ".join(f"{name} {record[key]}" for name, key in known if record.get(key))
    tree.add(Text(said, "bright_black"))
    if record.get("qa"):
        tree.add(Text("QA  " + "  ".join(f"{name} {_short(value)}" for name, value in record["qa"].items())))
    for gate in record.get("gates", ()):
        branch = tree.add(Text.assemble(f"{gate['step']}  ", _phase(gate["outcome"])))
        for check in gate["checks"]:
            dry = ", dry run" if check["dry_run"] else ""
            value = "unknown" if check["value"] is None else f"{check['value']:g}"
            measured = f"{check['metric']} {value} of at most {check['most']:g}, {check['samples']} calls{dry}: "
            branch.add(Text.assemble(measured, _phase(check["outcome"])))
    for one in record.get("approvals", ()):
        word = "approved" if one["verdict"] == "approve" else "rejected"
        tree.add(Text(f"{one['step']} {word} by {one['by']}" + (f": {one['note']}" if one["note"] else "")))
    return tree


def replay(answer: Row) -> None:
    """What putting an event through again did."""
    out = console()
    for receipt in answer["receipts"]:
        out.print(Text(answer["event"], "bold"), "was put through again:", _phase(receipt["outcome"]))
        out.print(Text(f"  {receipt['reason']}", "bright_black"))
    if answer["led_to"]:
        tree = Tree("[bold]it belongs to[/bold]", guide_style="bright_black")
        _led_to(tree, answer["led_to"])
        out.print(tree)


def _because(tree: Tree, causes: Sequence[Row]) -> None:
    for run in causes:
        branch = tree.add(_run(run))
        for event in run["events"]:
            deeper = branch.add(Text.assemble(str(event["type"]), "  ", (event["id"], "bright_black")))
            _because(deeper, event["because"])


def _led_to(tree: Tree, effects: Sequence[Row]) -> None:
    for run in effects:
        if "run" not in run:
            tree.add(Text.assemble((f"{run['route']} ", "bold"), f"{run['key']}: ", _phase(run["phase"])))
            continue
        branch = tree.add(_run(run))
        branch.add(Text(str(run["reason"]), "bright_black"))
        if run["remote"]:
            where = f"  {run['remote']['url']}" if run["remote"]["url"] else ""
            branch.add(Text.assemble(f"remote {run['remote']['id']}", (where, "bright_black")))
        shown = {name: value for name, value in run["result"].items() if name not in _HIDDEN and value is not None}
        if shown:
            branch.add(Text("  ".join(f"{name} {_short(value)}" for name, value in shown.items()), "bright_black"))
        if run.get("told"):
            branch.add(Text.assemble("own event ", (run["told"], "bright_black")))
        _led_to(branch, run["led_to"])


def _run(run: Row) -> Text:
    took = _took(run)
    text = Text.assemble((f"{run['route']} ", "bold"), f"{run['key']}, generation {run['generation']}: ")
    text.append_text(_phase(run["phase"]))
    if run["attempt"] > 1:
        text.append(f", attempt {run['attempt']}")
    return text.append(f" in {took}" if took != "-" else "", "bright_black")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"received", "created", "took"})
    return table


def _phase(text: Any) -> Text:
    return Text(str(text), _COLOURS.get(str(text), ""))


def _time(text: Any) -> str:
    at = dt.datetime.fromisoformat(str(text)).astimezone()
    today = at.date() == dt.datetime.now(at.tzinfo).date()
    return at.strftime("%H:%M:%S" if today else "%d %b %H:%M:%S")


def _took(row: Row) -> str:
    if not row["ended"]:
        return "-"
    took = dt.datetime.fromisoformat(row["ended"]) - dt.datetime.fromisoformat(row["created"])
    seconds = took.total_seconds()
    return f"{seconds:.1f} s" if seconds < 100 else str(dt.timedelta(seconds=round(seconds)))


def _counts(counts: Mapping[str, int]) -> Text:
    parts = [Text.assemble(f"{count} ", (name, _COLOURS.get(name, ""))) for name, count in counts.items()]
    return Text(", ").join(parts)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 90 else f"{text[:87]}..."
