"""Sluice, in reading order.

An event arrives (`events`), is matched against the routes (`routing`, with `filters`, `subject_pattern` and
`templates`; `route_file` reads them), is journalled and absorbed into lanes in groups (`intake`, on the one
`event_loop`, `intake_loop`).  A lane decides when its generation becomes a run (`lanes`, by the policy of its route,
`flow`); the set of a generation is written down (`manifests`) and its run goes through attempts until it is final
(`runs`, by the table in `phases`), asking what was frozen (`requests`), under a lease where no name makes a call safe
(`leases`); what the backends answer are `observations`, `failures` says what their words for an error mean, and
`patience` how long their calls may take. `limits` counts the places of a route, `commands` are what a person may do to
a run.

A release is the run that takes an image to production: `releases` is the table of its steps (`release_steps`), the
route's own among them (`release_stages`, `release_course`).  They are judged over `release_facts`, by
`release_verdicts`: QA and the deployment in `release_rules`, traffic in `release_traffic` with `release_shares`,
waiting and watching in `release_watch` with `release_analysis`, `release_checks` and `release_decisions`, the end in
`release_cleaning` with `release_evidence`.  What a challenger serves is told by `scoring_log`, which reads what
deployments say of their calls and adds it up by the minute (`tallies`); `scoring_intake` takes it in.
What any monitor says of drift is one signal (`drift`); `drift_detector` is our own, over `drift_metrics`; `governor`
decides what is worth a training, as the guard `training_guard`.

`control_plane` is the only orchestration: receive, wake, advance (by `run_steps`), sweep; `early_rings` hears what
backends say of their ends.  A process that takes events in wakes their lanes itself (`prompt_bells`).  The world is
reached through `ports`; the actions (`actions/`) and adapters (`adapters/`) stand behind them, and `wiring` puts them
together from `settings`, when `process` is first asked for the app.
`upkeep` runs beside it: `indexing` builds the id index from the journal (`event_index`, of `segments`), `retirement`
takes what is old out of the lanes, and `late_events` keeps what comes after that from being absorbed twice.
`operations` is what operators can ask and do, `history` what has happened (`deliveries` and how they ended, out of
`journal_lines`), `explanation` the why, `telemetry` the seam to Application Insights; `errors` says what a caller
should do about a failure.

Core modules import the standard library and core modules before them, nothing else.
"""
