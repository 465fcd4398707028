"""Publish the workload: what a build pipeline calls at its end, `python -m demand_forecasting.publish`.

The bundle and the Azure ML YAML are the source; this reads them and makes Azure agree, through the platforms' own
SDKs.  A second run changes nothing: every asset carries the hash of its content as the tag `content`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential
from databricks.sdk.errors import DatabricksError

from demand_forecasting import publish_azureml, publish_databricks

NAMES = (
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP",
    "AZUREML_WORKSPACE",
    "AZURE_RESOURCE_MANAGER",
    "DATABRICKS_HOST",
)
"""The settings that are read, all of them the control plane's own."""


class Incomplete(Exception):
    """Settings are missing; the message names all of them."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where to publish to."""

    subscription: str
    resource_group: str
    workspace: str
    resource_manager: str
    databricks: str
    lake: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Target:
        """The target that the settings name."""
        defaults = {"AZURE_RESOURCE_MANAGER": publish_azureml.PUBLIC}
        found = defaults | {name: environment[name] for name in NAMES if environment.get(name)}
        if missing := [name for name in NAMES if name not in found]:
            raise Incomplete(f"not set: {', '.join(missing)}; they are settings of the function app")
        return cls(*(found[name] for name in NAMES), lake=environment.get("LAKE_ACCOUNT", ""))


def publish(target: Target, say: Callable[[str], None]) -> None:
    """Make Databricks and Azure ML hold what the files here say; `say` gets a line for each thing done."""
    credential = DefaultAzureCredential()
    publish_databricks.publish(target.databricks, credential, lake=target.lake, say=say)
    client = publish_azureml.connect(
        credential,
        target.subscription,
        target.resource_group,
        target.workspace,
        resource_manager=target.resource_manager,
    )
    publish_azureml.publish(client, say=say)


def main() -> int:
    """The command line; 0, or 1 with the reason on standard error."""
    try:
        publish(Target.read(os.environ), _say)
    except (Incomplete, AzureError, DatabricksError, publish_databricks.BundleError) as error:
        sys.stderr.write(f"publish failed: {error}\n")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
