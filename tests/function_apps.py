"""Small function apps that the real worker refuses to index, or accepts, with the words that it refuses them with."""

from __future__ import annotations

from pathlib import Path

QUEUE = '@app.queue_trigger(arg_name="m", queue_name="q", connection="C")\n'
TIMER = '@app.timer_trigger(arg_name="t", schedule="0 * * * * *")\n'
OUT = '@app.queue_output(arg_name="o", queue_name="q", connection="C")\n'
HUB = '@app.event_hub_message_trigger(arg_name="e", event_hub_name="h", connection="C", cardinality="many")\n'

REFUSED = [
    (HUB + "def f(e: list[func.EventHubEvent]): ...", "cannot load the f function: binding e has invalid non-type"),
    (TIMER + OUT + "def f(t, o: func.Out[list[str]]): ...", "invalid non-type annotation"),
    ("@app.route()\ndef f(req: func.HttpRequest) -> func.HttpResponse | None: ...", "invalid non-type return"),
    (TIMER + "def f(t: func.TimerRequest, extra=None): ...", "declared in Python but not in the function"),
    (TIMER + "def f(): ...", "are declared as bindings but are not present in Python"),
    (TIMER + "def f(t: func.QueueMessage): ...", "QueueMessage"),
    (TIMER + OUT + "def f(t, o: str): ...", "not a subclass of azure.functions.Out"),
    (QUEUE + "def f(m: func.Out[str]): ...", "annotation is azure.functions.Out in Python"),
    (TIMER + "def f(t, context: str): ...", "expected to be of type azure.functions.Context"),
    (TIMER + "def f(t: Missing): ...", "NameError"),
    (TIMER + "def f(t): ...\n" + TIMER + "def f(t): ...", "does not have a unique function name"),
    (OUT + "def f(o): ...", "does not have a trigger"),
    (TIMER + QUEUE + "def f(t, m): ...", "A trigger was already registered"),
    ("second = func.FunctionApp()", "More than one FunctionApp"),
    ("del app", "Could not find top level function app instances in function_app.py"),
    ("import nothing_like_this", "ModuleNotFoundError"),
    ("raise OSError('at import')", "OSError: at import"),
    (TIMER + '@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="x")\ndef f(t): ...', "time"),
]

ACCEPTED = [
    HUB + "def f(e: typing.List[func.EventHubEvent]): ...",
    HUB + "def f(e: func.EventHubEvent): ...",
    "import functools\ndef wrap(g):\n    @functools.wraps(g)\n    def inner(*a, **k): return g(*a, **k)\n"
    "    return inner\n" + TIMER + "@wrap\ndef f(t: func.TimerRequest) -> None: ...",
    TIMER + OUT + "async def f(t, o: func.Out[typing.List[str]], context: func.Context) -> None: ...",
    "bp = func.Blueprint()\n" + TIMER + "def f(t): ...",
    "@app.event_grid_trigger(arg_name='event')\nasync def f(event: str) -> None: ...",
    "@app.route()\ndef f(req: func.HttpRequest) -> str: ...",
]


def write(folder: Path, source: str, *, before: str = "") -> None:
    """Make `folder` the folder of an app with the body `source`."""
    text = f"{before}import typing\nimport azure.functions as func\napp = func.FunctionApp()\n{source}\n"
    (folder / "function_app.py").write_text(text, encoding="utf-8")
    (folder / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
