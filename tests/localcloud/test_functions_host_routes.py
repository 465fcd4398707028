"""Route templates as ASP.NET reads them."""

from __future__ import annotations

import pytest

from localcloud.functions_host.http_routes import RouteError, Routes, compile_route


def routes(*templates: str, methods: tuple[str, ...] = ()) -> Routes:
    return Routes(compile_route(template, "api", template, methods) for template in templates)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("health", "/api/health", {}),
        ("health", "/API/Health/", {}),
        ("runs/{id}", "/api/runs/a%20b", {"id": "a b"}),
        ("runs/{id:int}", "/api/runs/17", {"id": "17"}),
        ("runs/{id:int?}", "/api/runs", {}),
        ("runs/{id=last}", "/api/runs", {"id": "last"}),
        ("files/{*rest}", "/api/files/a/b/c", {"rest": "a/b/c"}),
        ("files/{*rest}", "/api/files", {}),
        ("{name}.{extension}", "/api/report.json", {"name": "report", "extension": "json"}),
        ("codes/{code:length(2,4)}", "/api/codes/abc", {"code": "abc"}),
        ("codes/{code:regex(^[a-c]{{0}}x$)}", "/api/codes/nothing", None),
        ("n/{n:range(1,5)}", "/api/n/5", {"n": "5"}),
        ("n/{n:range(1,5)}", "/api/n/6", None),
        ("g/{g:guid}", "/api/g/7f3b8a52-0000-4000-8000-000000000000", {"g": "7f3b8a52-0000-4000-8000-000000000000"}),
        ("runs/{id:int}", "/api/runs/x", None),
        ("runs/{id}", "/api/runs", None),
        ("runs/{id}", "/api/runs/1/2", None),
        ("health", "/health", None),
    ],
)
def test_a_template_matches_or_does_not(template: str, path: str, values: dict[str, str] | None) -> None:
    found = routes(template).find("GET", path)

    assert (found and found[1]) == values


@pytest.mark.parametrize(
    ("path", "winner"),
    [("/api/runs/last", "runs/last"), ("/api/runs/7", "runs/{id:int}"), ("/api/runs/x", "runs/{id}"),
     ("/api/runs/x/y", "{*all}")],
)  # fmt: skip
def test_the_most_literal_route_wins(path: str, winner: str) -> None:
    found = routes("{*all}", "runs/{id}", "runs/{id:int}", "runs/last").find("GET", path)

    assert found is not None
    assert found[0] == winner


def test_another_method_does_not_match() -> None:
    assert routes("runs", methods=("POST",)).find("GET", "/api/runs") is None


def test_an_unknown_constraint_is_an_error() -> None:
    with pytest.raises(RouteError, match="primes"):
        compile_route("f", "api", "n/{n:primes}", ())
