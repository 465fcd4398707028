"""A Functions host for machines without `func`: it drives an unmodified Python v2 `function_app.py`.

The app sees what it would see under the real host: the same inputs, the same rejections at indexing, the same status
codes, retries, poison queues and schedules.  In reading order:

    settings, host_json        what the host is told
    signatures, app_index      what the app declares, and what the real worker would refuse
    payloads, bindings         the shapes that go in and come out
    worker, invoker, outputs   one invocation, from payload to sent outputs
    storage                    the connections, and one log line per change of their health
    webhook, queues, timers, http_routes, http_functions, hubs    the triggers
    leases, schedules          what the timers stand on
    keys, admin                who may call, and the operators' endpoints
    host, logs, __main__       the process
"""
