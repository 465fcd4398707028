"""Runs in the scoring environment: gives each body of a file to score.py and reports status and answer as JSON."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from pathlib import Path


class Request:
    """As much of the server's request as score.py reads."""

    headers = {"x-ms-client-request-id": "test"}  # noqa: RUF012

    def __init__(self, body: bytes) -> None:
        self._body = body

    def get_data(self, *, cache: bool) -> bytes:
        """The raw body."""
        assert not cache
        return self._body


def main() -> None:
    """Load score.py as the server does: its folder on the path, itself not entered in sys.modules."""
    sys.path.append(str(Path(sys.argv[1]).parent))
    spec = importlib.util.spec_from_file_location("entry", sys.argv[1])
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    score.init()
    answers = []
    for encoded in json.loads(Path(sys.argv[2]).read_text()):
        answer = score.run(Request(base64.b64decode(encoded)))
        answers.append([answer.status_code, json.loads(answer.get_data())])
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
