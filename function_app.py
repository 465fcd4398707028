"""The Functions app: registers how Azure calls Sluice."""

import azure.functions as func

from functions import commands, event_grid, event_hubs, http, queues, scoring_log, timers

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for module in (event_grid, event_hubs, scoring_log, queues, timers, http, commands):
    app.register_functions(module.blueprint)
