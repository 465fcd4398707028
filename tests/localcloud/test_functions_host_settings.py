"""local.settings.json, host.json and the host's ways of looking settings up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localcloud.functions_host import host_json, settings


def test_the_process_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps({"Values": {"A": "file", "B": "file"}}))
    environ = {"A": "process"}

    assert settings.lay_under(environ, path) == ["A"]
    assert environ == {"A": "process", "B": "file"}


@pytest.mark.parametrize(
    ("text", "named"),
    [("{", "not valid JSON"), ('{"Values": {"A": 1}}', "strings, these are not: A"), ('{"Values": []}', "Values"),
     ('{"IsEncrypted": true, "Values": {}}', "encrypted")],
)  # fmt: skip
def test_a_settings_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(text)

    with pytest.raises(settings.SettingsError, match=named):
        settings.lay_under({}, path)


def test_a_name_in_percent_signs_is_replaced_by_its_setting() -> None:
    assert settings.Settings({"HUB": "events"}).resolve("%HUB%-in") == "events-in"
    with pytest.raises(settings.SettingsError, match="'%HUB%' does not resolve to a value"):
        settings.Settings({}).resolve("%HUB%")


def test_a_connection_is_a_connection_string_or_an_account_with_identity() -> None:
    found = settings.Settings({"AzureWebJobsX": "first", "X": "second", "Y__accountName": "acc"})

    assert found.storage("X").connection_string == "first"
    assert found.storage("Y").queue_url == "https://acc.queue.core.windows.net"
    with pytest.raises(settings.SettingsError, match="'Z' is not configured"):
        found.storage("Z")


@pytest.mark.parametrize("name", ["AzureWebJobs.f.Disabled", "AzureWebJobs_f_Disabled"])
def test_a_function_is_disabled_by_a_setting(name: str) -> None:
    assert settings.Settings({name: "True"}).disabled("f")
    assert not settings.Settings({name: "false"}).disabled("f")


def test_host_json_has_the_real_defaults(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')

    found = host_json.load(tmp_path)

    assert (found.queues.batch_size, found.queues.max_dequeue_count, found.queues.max_polling_interval) == (16, 5, 60)
    assert (found.route_prefix, found.function_timeout, found.hubs.max_event_batch_size) == ("api", 1800, 100)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not valid JSON"),
        ("{}", '"version": "2.0"'),
        ('{"version": "2.0", "extensions": {"queues": {"batchSize": 33}}}', "batchSize"),
        ('{"version": "2.0", "extensions": {"queues": {"messageEncoding": "rot13"}}}', "messageEncoding"),
        ('{"version": "2.0", "functionTimeout": "ten minutes"}', "functionTimeout"),
        ('{"version": "2.0", "logging": {"logLevel": {"default": "Loud"}}}', "Loud"),
        ('{"version": "2.0", "extensions": []}', "host.json"),
    ],
)
def test_a_host_json_that_cannot_be_used_names_the_place(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "host.json").write_text(text)

    with pytest.raises(host_json.HostJsonError, match=named):
        host_json.load(tmp_path)
