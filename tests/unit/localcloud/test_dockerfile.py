"""The subset of Dockerfiles that is built without Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.dockerfile import Recipe, Unsupported, read

HEAD = "FROM python:3.11-slim\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "model" / "code").mkdir(parents=True)
    for name in ("score.py", "requirements.lock", "model/model.pkl", "model/code/features.py"):
        (tmp_path / name).write_text(name)
    return tmp_path


def recipe(context: Path, text: str, **arguments: str) -> Recipe:
    return read(f"{HEAD}{text}\nCMD serve --port ${{PORT}}\n", context, arguments)


def test_copies_land_where_docker_puts_them(context: Path) -> None:
    text = "COPY score.py requirements.lock ./\nCOPY model ./model\nCOPY score.py /app/main.py"
    assert sorted(recipe(context, text).files) == [
        "app/main.py",
        "model/code/features.py",
        "model/model.pkl",
        "requirements.lock",
        "score.py",
    ]


def test_arguments_reach_labels_and_variables(context: Path) -> None:
    labels = 'LABEL version=${VERSION} \\\n      name="the ${NAME}"'
    text = f"ARG VERSION\nARG NAME=demand\n{labels}\nENV A=$VERSION B=${{NONE:-b}}"
    found = recipe(context, text, VERSION="7")
    assert found.labels == {"version": "7", "name": "the demand"}
    assert found.env == {"A": "7", "B": "b"}
    assert found.command == ["/bin/sh", "-c", "serve --port ${PORT}"]


def test_a_lock_is_installed_once_it_was_copied(context: Path) -> None:
    text = "COPY requirements.lock ./\nRUN python -m pip install --no-cache-dir -r requirements.lock"
    assert recipe(context, text).lock == context / "requirements.lock"
    with pytest.raises(Unsupported, match=r"line 2: RUN .*: requirements.lock is not in the image: COPY it before"):
        recipe(context, "RUN pip install -r requirements.lock")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("EXPOSE 80", "EXPOSE is not supported here; use only FROM, ARG, LABEL, ENV, RUN, COPY, CMD"),
        ("RUN pip install requests", "only `pip install -r FILE` is supported"),
        ("RUN pip install -r requirements.lock && rm -rf /", "only `pip install -r FILE` is supported"),
        ("COPY missing.py ./", "missing.py is not in the build context"),
        ("COPY ../secret ./", "leads outside"),
        ("COPY --chown=1 score.py ./", "without options"),
        ("FROM other", "only one build stage"),
        ("LABEL oops", "expected name=value"),
    ],
)
def test_what_cannot_be_built_is_named_with_its_line(context: Path, line: str, told: str) -> None:
    with pytest.raises(Unsupported, match=rf"line 2: .*{told}"):
        recipe(context, line)


def test_a_dockerfile_needs_a_base_and_a_command(context: Path) -> None:
    with pytest.raises(Unsupported, match="needs a FROM and a CMD"):
        read(HEAD, context, {})
    with pytest.raises(Unsupported, match="line 1: COPY before FROM"):
        read("COPY score.py ./", context, {})
