"""Registry, build and container groups, through azure-containerregistry and azure-mgmt-containerinstance."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from azure.containerregistry import ContainerRegistryClient, DigestValidationError
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.mgmt.containerinstance import ContainerInstanceManagementClient
from azure.mgmt.containerinstance import models as aci

from localcloud.cloud import LOCATION, RESOURCE_GROUP, SUBSCRIPTION, Cloud
from tests.azurites import Azurite
from tests.localcloud.machine_learning import DOCKERFILE, SERVE, Arm, new_cloud, services
from tests.localcloud.running import eventually


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Cloud:
    return new_cloud(tmp_path_factory.mktemp("cloud"), azurite)


@pytest.fixture
def served(cloud: Cloud) -> Iterator[Cloud]:
    with services(cloud):
        yield cloud


@pytest.fixture
def arm(served: Cloud) -> Arm:
    return Arm(served)


@pytest.fixture
def registry(served: Cloud) -> Iterator[ContainerRegistryClient]:
    with ContainerRegistryClient(served.url("registry"), ManagedIdentityCredential()) as client:
        yield client


@pytest.fixture
def instances(served: Cloud) -> ContainerInstanceManagementClient:
    scopes = ["https://management.azure.com/.default"]
    credential = ManagedIdentityCredential()
    return ContainerInstanceManagementClient(
        credential, SUBSCRIPTION, base_url=served.url("arm"), credential_scopes=scopes
    )


def group(image: str, **environment: str) -> aci.ContainerGroup:
    variables = [aci.EnvironmentVariable(name=name, secure_value=value) for name, value in environment.items()]
    resources = aci.ResourceRequirements(requests=aci.ResourceRequests(memory_in_gb=1, cpu=1))
    container = aci.Container(
        name="score",
        image=image,
        resources=resources,
        ports=[aci.ContainerPort(port=5001)],
        environment_variables=variables,
    )
    return aci.ContainerGroup(
        location=LOCATION,
        tags={"made": "by a test"},
        containers=[container],
        os_type="Linux",
        restart_policy="Never",
        ip_address=aci.IpAddress(type="Public", ports=[aci.Port(port=5001)]),
    )


def pushes(cloud: Cloud, repository: str) -> list[str]:
    rows = cloud.records("event_grid", "published")
    return [row["subject"] for row in rows if row["subject"].split(":")[0] == repository]


def test_an_image_goes_in_and_comes_out_by_digest(registry: ContainerRegistryClient, served: Cloud) -> None:
    config = registry.upload_blob("parts", io.BytesIO(b"{}"))
    layer = registry.upload_blob("parts", io.BytesIO(b"layer"))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config[0], "size": config[1]},
        "layers": [{"mediaType": "application/octet-stream", "digest": layer[0], "size": layer[1]}],
    }
    digest = registry.set_manifest("parts", manifest, tag="7")
    assert registry.get_manifest("parts", "7").digest == registry.get_manifest("parts", digest).digest == digest
    assert b"".join(registry.download_blob("parts", layer[0])) == b"layer"
    assert registry.get_manifest_properties("parts", "7").tags == ["7"]
    assert [tag.name for tag in registry.list_tag_properties("parts")] == ["7"]
    assert "parts" in list(registry.list_repository_names())
    assert pushes(served, "parts") == ["parts:7", "parts"]
    registry.delete_manifest("parts", "7")
    with pytest.raises(ResourceNotFoundError):
        registry.get_manifest("parts", digest)


def test_a_manifest_whose_blobs_are_missing_is_refused(registry: ContainerRegistryClient) -> None:
    absent = {"digest": f"sha256:{'0' * 64}", "size": 1, "mediaType": "application/octet-stream"}
    with pytest.raises((ResourceNotFoundError, DigestValidationError), match="was not uploaded"):
        registry.set_manifest("gaps", {"schemaVersion": 2, "config": absent, "layers": []})


def test_nobody_reads_without_a_token(served: Cloud) -> None:
    answer = requests.get(f"{served.url('registry')}/v2/parts/manifests/7", timeout=10)
    assert answer.status_code == 401
    assert 'scope="repository:parts:pull"' in answer.headers["WWW-Authenticate"]


def test_equal_contexts_build_equal_digests(arm: Arm) -> None:
    first, second, other = (arm.build("twins:1", VERSION=version) for version in ("1", "1", "2"))
    assert first["outputImages"][0]["digest"] == second["outputImages"][0]["digest"]
    assert first["outputImages"][0]["digest"] != other["outputImages"][0]["digest"]


def test_a_build_says_what_it_cannot_do(arm: Arm) -> None:
    dockerfile = DOCKERFILE.replace("CMD", "EXPOSE 80\nCMD")
    ended = arm.build("no:1", {"Dockerfile": dockerfile, "serve.py": SERVE, "requirements.lock": "", "site/a": ""})
    assert ended["status"] == "Failed"
    assert "EXPOSE is not supported here" in ended["runErrorMessage"]
    apt = arm.build("no:1", {"Dockerfile": "FROM x\nRUN apt-get install curl\nCMD a"})
    assert "line 2: RUN apt-get install curl: only `pip install -r FILE` is supported" in apt["runErrorMessage"]


def test_a_container_group_serves_its_image(
    served: Cloud, arm: Arm, instances: ContainerInstanceManagementClient
) -> None:
    built = arm.build("demand:1", VERSION="1")["outputImages"][0]
    image = f"{built['registry']}/demand@{built['digest']}"
    instances.container_groups.begin_create_or_update(RESOURCE_GROUP, "qa", group(image, TOKEN="secret")).result()
    found = instances.container_groups.get(RESOURCE_GROUP, "qa")
    assert found.provisioning_state == "Succeeded"
    assert found.instance_view.state == "Running"
    assert found.tags == {"made": "by a test"}
    assert found.containers[0].environment_variables[0].secure_value is None
    url = f"http://{found.ip_address.ip}:{found.ip_address.ports[0].port}/"
    assert eventually(lambda: post(url)) == "hello 1 week"
    logs = eventually(lambda: instances.containers.list_logs(RESOURCE_GROUP, "qa", "score").content)
    assert "POST" in logs
    assert [row["image"] for row in served.records("container_instances", "created")] == [image]


def test_the_same_container_group_again_changes_nothing_and_survives_a_restart(cloud: Cloud) -> None:
    with services(cloud):
        scopes = ["https://management.azure.com/.default"]
        client = ContainerInstanceManagementClient(
            ManagedIdentityCredential(), SUBSCRIPTION, base_url=cloud.url("arm"), credential_scopes=scopes
        )
        arm = Arm(cloud)
        built = arm.build("kept:1", VERSION="k")["outputImages"][0]
        asked = group(f"{built['registry']}/kept:1")
        client.container_groups.begin_create_or_update(RESOURCE_GROUP, "kept", asked).result()
        ports = client.container_groups.get(RESOURCE_GROUP, "kept").ip_address.ports
        client.container_groups.begin_create_or_update(RESOURCE_GROUP, "kept", asked).result()
        assert client.container_groups.get(RESOURCE_GROUP, "kept").ip_address.ports == ports
    with services(cloud):

        def up() -> str | None:
            found = client.container_groups.get(RESOURCE_GROUP, "kept")
            if found.provisioning_state != "Succeeded":
                return None
            return post(f"http://127.0.0.1:{found.ip_address.ports[0].port}/")

        assert eventually(up) == "hello k week"
        client.container_groups.stop(RESOURCE_GROUP, "kept")
        assert client.container_groups.get(RESOURCE_GROUP, "kept").instance_view.state == "Stopped"
        client.container_groups.begin_delete(RESOURCE_GROUP, "kept").result()
        with pytest.raises(ResourceNotFoundError):
            client.container_groups.get(RESOURCE_GROUP, "kept")


def test_a_group_of_an_unknown_image_is_refused_at_once(instances: ContainerInstanceManagementClient) -> None:
    with pytest.raises(HttpResponseError, match="InaccessibleImage"):
        instances.container_groups.begin_create_or_update(RESOURCE_GROUP, "no", group("nowhere:1"))


def test_a_container_that_ends_is_told_with_its_exit_code(
    arm: Arm, instances: ContainerInstanceManagementClient
) -> None:
    built = arm.build("broken:1")["outputImages"][0]
    asked = group(f"{built['registry']}/broken@{built['digest']}", BROKEN="1")
    instances.container_groups.begin_create_or_update(RESOURCE_GROUP, "broken", asked).result()

    def code() -> int | None:
        view = instances.container_groups.get(RESOURCE_GROUP, "broken").containers[0].instance_view
        return view.current_state.exit_code

    assert eventually(code) == 1
    assert "the model is missing" in instances.containers.list_logs(RESOURCE_GROUP, "broken", "score").content
    instances.container_groups.begin_delete(RESOURCE_GROUP, "broken").result()


def post(url: str) -> str | None:
    try:
        return requests.post(url, data="week", timeout=5).text
    except requests.ConnectionError:
        return None


def test_the_records_tell_of_every_push(cloud: Cloud) -> None:
    rows = cloud.records("registry", "push")
    assert {"parts", "twins", "demand"} <= {row["repository"] for row in rows}
    assert Path(cloud.home, "registry", "blobs").is_dir()
