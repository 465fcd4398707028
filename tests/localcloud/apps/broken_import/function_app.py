"""An app that cannot be imported."""

import a_package_that_nobody_installed  # noqa: F401
import azure.functions as func

app = func.FunctionApp()
