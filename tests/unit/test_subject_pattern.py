"""Which subjects a pattern takes, and what it captures of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.subject_pattern import SubjectPattern

COMMIT = "/blobServices/default/containers/bronze/blobs/{table}/_delta_log/{version:20d}.json"


@pytest.mark.parametrize(
    ("pattern", "subject", "captured"),
    [
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/00000000000000000041.json",
         {"table": "demand", "version": "00000000000000000041"}),
        ("{a}/{b}", "x/y", {"a": "x", "b": "y"}),
        ("{rest:path}.csv", "deep/er/file.csv", {"rest": "deep/er/file"}),
        ("{c}/{rest:path}", "x/y/z", {"c": "x", "rest": "y/z"}),
        ("models/{name}:{version:2d}", "models/m:07", {"name": "m", "version": "07"}),
        ("plain", "plain", {}),
        ("a.b*c[d]({x})+", "a.b*c[d](1)+", {"x": "1"}),
    ],
)  # fmt: skip
def test_a_subject_pattern_captures_what_it_names(pattern: str, subject: str, captured: dict[str, str]) -> None:
    assert SubjectPattern.compile(pattern).captured(subject) == captured


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/41.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/00000000000000000041.json.tmp"),
        (COMMIT, "/blobServices/default/containers/silver/blobs/demand/_delta_log/00000000000000000041.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/a/b/_delta_log/00000000000000000041.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/0000000000000000004a.json"),
        (COMMIT, "/blobServices/default/containers/bronze/blobs/demand/_delta_log/0000000000000000004٣.json"),
        ("{a}", ""),
        ("{rest:path}", ""),
        ("a.b", "axb"),
        ("Bronze/{t}", "bronze/x"),
        ("{a}/{b}", "x/y/z"),
    ],
)
def test_a_subject_pattern_fits_the_whole_subject_or_not_at_all(pattern: str, subject: str) -> None:
    assert SubjectPattern.compile(pattern).captured(subject) is None


@pytest.mark.parametrize("pattern", ["{a:int}", "{a:d}", "{a:-1d}", "{a:.*}", "{a:}", "{a:path }"])
def test_a_capture_is_of_one_of_three_kinds(pattern: str) -> None:
    with pytest.raises(ValueError, match="a capture is"):
        SubjectPattern.compile(pattern)


@pytest.mark.parametrize(
    "pattern", ["{", "}", "a{b", "{}", "{1a}", "{1bad}/{table}", "{a}/{2}", "{a}}", "{{a}}", "{a b}/{c}"]
)
def test_a_brace_that_names_no_capture_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="brace"):
        SubjectPattern.compile(pattern)


@given(st.text().filter(lambda text: "{" not in text and "}" not in text), st.text())
def test_a_pattern_without_captures_is_literal(pattern: str, subject: str) -> None:
    compiled = SubjectPattern.compile(pattern)
    assert compiled.captured(pattern) == {}
    assert (compiled.captured(subject) is not None) is (subject == pattern)
