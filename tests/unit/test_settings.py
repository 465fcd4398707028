"""The one reader of settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import wiring
from shared.errors import ConfigurationError
from shared.settings import PUBLIC_MANAGER, Hub, Storage, read

KEYS = "DefaultEndpointsProtocol=https;AccountName=store;AccountKey=c2VjcmV0PT0=;EndpointSuffix=core.windows.net"
WHOLE = {
    "SluiceStorage": KEYS,
    "SluiceLake__accountName": "lake",
    "AZURE_SUBSCRIPTION_ID": "5b4b650e",
    "AZURE_RESOURCE_GROUP": "rg",
    "AZURE_LOCATION": "westeurope",
    "AZUREML_WORKSPACE": "ml",
    "DATABRICKS_HOST": "https://adb-1.azuredatabricks.net/",
    "REGISTRY_ENDPOINT": "https://contoso.azurecr.io/",
}
REQUIRED = [name for name in WHOLE if not name.startswith("Sluice")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").touch()
    return tmp_path


def faults(environment: dict[str, str], root: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(environment, root)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return list(caught.value.faults)


def test_a_whole_environment_is_read(root: Path) -> None:
    found = read(WHOLE, root)
    assert found.store == Storage("store", KEYS)
    assert found.lake == Storage("lake", None)
    assert (found.subscription, found.resource_group, found.location) == ("5b4b650e", "rg", "westeurope")
    assert found.databricks == "https://adb-1.azuredatabricks.net"
    assert (found.registry, found.registry_host) == ("https://contoso.azurecr.io", "contoso.azurecr.io")
    assert found.manager == PUBLIC_MANAGER
    assert (found.topic, found.topic_key, found.insights, found.outbox, found.pull_identity) == (None,) * 5
    assert found.routes == root / "routes.yaml"


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_setting_is_named_with_what_it_is_for(name: str, value: str | None, root: Path) -> None:
    environment = {**WHOLE, name: value} if value is not None else {k: v for k, v in WHOLE.items() if k != name}
    (only,) = faults(environment, root)
    assert only.startswith(f"setting {name} is missing: ")
    assert len(only) > len(f"setting {name} is missing: ") + 10


def test_every_fault_is_reported_at_once(root: Path, tmp_path: Path) -> None:
    found = faults({"DATABRICKS_HOST": "adb-1", "SLUICE_ROUTES": "none.yaml", "SLUICE_OUTBOX_HUB": "hub"}, root)
    missing = [name for name in REQUIRED if name != "DATABRICKS_HOST"]
    wrong = ["DATABRICKS_HOST", "SluiceStorage", "SluiceLake", "SLUICE_ROUTES", "SLUICE_OUTBOX_HUB"]
    assert [fault.split()[1].rstrip(":") for fault in found] == [*missing, *wrong]


@pytest.mark.parametrize("name", ["SluiceStorage", "SluiceLake"])
def test_an_account_is_a_connection_string_or_a_name(name: str, root: Path) -> None:
    without = {key: value for key, value in WHOLE.items() if not key.startswith(name)}
    (only,) = faults(without, root)
    assert name in only
    assert f"{name}__accountName" in only
    read({**without, name: KEYS}, root)
    read({**without, f"{name}__accountName": "x"}, root)


def test_a_connection_string_goes_before_a_name(root: Path) -> None:
    assert read({**WHOLE, "SluiceStorage__accountName": "other"}, root).store == Storage("store", KEYS)


@pytest.mark.parametrize("text", ["UseDevelopmentStorage=true", "nonsense", "AccountName=", "AccountKey=x;;=;"])
def test_a_connection_string_without_an_account_is_a_fault_that_does_not_repeat_it(text: str, root: Path) -> None:
    (only,) = faults({**WHOLE, "SluiceStorage": text}, root)
    assert "SluiceStorage is not a storage connection string" in only
    assert text not in only, "a connection string holds a key"


@pytest.mark.parametrize("name", ["DATABRICKS_HOST", "REGISTRY_ENDPOINT"])
@pytest.mark.parametrize("value", ["contoso.azurecr.io", "http://contoso.azurecr.io", "ftp://x"])
def test_an_address_must_be_https(name: str, value: str, root: Path) -> None:
    (only,) = faults({**WHOLE, name: value}, root)
    assert only == f"setting {name} is {value!r}: it must be an https:// address"


@pytest.mark.parametrize("value", ["http://127.0.0.1:5000", "http://localhost:5000"])
def test_an_address_on_this_machine_may_be_plain_and_its_host_has_no_scheme(value: str, root: Path) -> None:
    assert read({**WHOLE, "REGISTRY_ENDPOINT": value}, root).registry_host == value.removeprefix("http://")


def test_a_file_of_routes_that_does_not_exist_is_named_with_its_place(root: Path) -> None:
    (only,) = faults({**WHOLE, "SLUICE_ROUTES": "other.yaml"}, root)
    assert only == f"setting SLUICE_ROUTES: there is no file {root / 'other.yaml'}"


def test_a_file_of_routes_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "rules.yaml"
    elsewhere.touch()
    assert read({**WHOLE, "SLUICE_ROUTES": str(elsewhere)}, root / "app").routes == elsewhere


def test_an_empty_setting_is_like_none(root: Path) -> None:
    optional = ["SLUICE_ROUTES", "EVENTGRID_TOPIC_ENDPOINT", "EVENTGRID_TOPIC_KEY", "AZURE_RESOURCE_MANAGER",
                "APPLICATIONINSIGHTS_CONNECTION_STRING", "SLUICE_OUTBOX_HUB", "REGISTRY_PULL_IDENTITY",
                "EVENT_HUB_RETENTION_DAYS"]  # fmt: skip
    assert read({**WHOLE, **dict.fromkeys(optional, "")}, root) == read(WHOLE, root)


def test_optional_settings_are_read(root: Path) -> None:
    found = read(
        {
            **WHOLE, "EVENTGRID_TOPIC_ENDPOINT": "https://topic", "EVENTGRID_TOPIC_KEY": "k",
            "AZURE_RESOURCE_MANAGER": "https://127.0.0.1:9000", "APPLICATIONINSIGHTS_CONNECTION_STRING": "Instr",
            "SLUICE_OUTBOX_HUB": "ns.servicebus.windows.net/hub", "REGISTRY_PULL_IDENTITY": "/subscriptions/x",
        },
        root,
    )  # fmt: skip
    assert (found.topic, found.topic_key, found.manager) == ("https://topic", "k", "https://127.0.0.1:9000")
    assert (found.insights, found.outbox, found.pull_identity) == (
        "Instr", "ns.servicebus.windows.net/hub", "/subscriptions/x",
    )  # fmt: skip


@pytest.mark.parametrize(("retention", "days"), [(None, 14), ("1", 14), ("7", 14), ("30", 32), ("90", 92)])
def test_events_stay_known_in_their_lanes_for_longer_than_a_hub_keeps_them(
    root: Path, retention: str | None, days: int
) -> None:
    given = {"EVENT_HUB_RETENTION_DAYS": retention} if retention else {}
    assert read({**WHOLE, **given}, root).keep_days == days


def test_a_retention_that_is_no_number_of_days_is_named(root: Path) -> None:
    (only,) = faults({**WHOLE, "EVENT_HUB_RETENTION_DAYS": "a week"}, root)
    assert "EVENT_HUB_RETENTION_DAYS is 'a week'" in only


@pytest.mark.parametrize(
    ("place", "hub"),
    [
        ({"SluiceHub": "Endpoint=sb://ns/;Key=1"}, Hub("calls", "Endpoint=sb://ns/;Key=1", None)),
        ({"SluiceHub__fullyQualifiedNamespace": "ns"}, Hub("calls", None, "ns")),
    ],
)  # fmt: skip
def test_the_scoring_hub_is_in_the_namespace_of_the_hub_trigger(place: dict[str, str], hub: Hub, root: Path) -> None:
    assert read({**WHOLE, **place, "SLUICE_SCORING_HUB": "calls"}, root).scoring_hub == hub
    assert read({**WHOLE, **place}, root).scoring_hub is None


def test_a_scoring_hub_without_a_namespace_is_a_fault_that_says_what_to_set(root: Path) -> None:
    (only,) = faults({**WHOLE, "SLUICE_SCORING_HUB": "calls"}, root)
    assert "set SluiceHub (a connection string) or SluiceHub__fullyQualifiedNamespace" in only


def test_deployments_are_told_where_their_scoring_log_goes(root: Path) -> None:
    identity = {"SLUICE_SCORING_HUB": "calls", "SluiceHub__fullyQualifiedNamespace": "ns"}
    told = read({**WHOLE, **identity}, root).for_deployments()
    assert told == {"SCORING_HUB": "calls", "SCORING_HUB_NAMESPACE": "ns"}
    assert read(WHOLE, root).for_deployments() == {}
    with pytest.raises(ConfigurationError, match="SLUICE_SCORING_HUB is missing"):
        wiring.build_scoring_intake(read(WHOLE, root))


def test_the_public_address_of_a_service_is_derived_from_the_account() -> None:
    assert Storage("lake", None).url("table") == "https://lake.table.core.windows.net"


def test_the_sample_settings_name_every_required_setting() -> None:
    sample = json.loads((Path(__file__).resolve().parents[2] / "local.settings.sample.json").read_text())["Values"]
    missing = [name for name in REQUIRED if name not in sample]
    assert missing == []
    assert {"SluiceStorage", "SluiceStorage__accountName"} & set(sample)
    assert {"SluiceLake", "SluiceLake__accountName"} & set(sample)
