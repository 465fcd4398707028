"""Runs in the runtime's environment: `PROGRAM NAME ARG... -- NAME ARG... --`; reports status and stderr as JSON.

The case named `databricks` runs as on a cluster: a session is there already, and Sail cannot be imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def cases(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of each case."""
    while words:
        end = words.index("--")
        yield words[0], words[1:end]
        words = words[end + 1 :]


def on_a_cluster(work: Callable[[], int]) -> int:
    """`work` with a Spark server that is not its own."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "pysail"}
    sys.modules["pysail"] = None
    os.environ["DATABRICKS_RUNTIME_VERSION"] = "17.3"
    os.environ["SPARK_REMOTE"] = f"sc://127.0.0.1:{server.listening_address[1]}"
    try:
        return work()
    finally:
        sys.modules |= hidden
        server.stop()


def main() -> None:
    """Load the program once, without its neighbours on the path, and run every case."""
    program = Path(sys.argv[1])
    spec = importlib.util.spec_from_file_location(program.stem, program)
    task = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(task)
    report: dict[str, Any] = {}
    for name, argv in cases(sys.argv[2:]):
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr):
            run = lambda argv=argv: task.main(argv)  # noqa: E731
            status = on_a_cluster(run) if name == "databricks" else run()
        report[name] = {"status": status, "stderr": stderr.getvalue()}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a Sail server leaves threads behind


if __name__ == "__main__":
    main()
