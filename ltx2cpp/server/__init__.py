"""The server: jobs over HTTP, made one after another by a process of its own.

From below: `store` keeps jobs, and `view` those of them in memory that are asked for; `coordinator`
hands them to workers and takes their reports; `worker` and `inspector` are the other processes,
which `processes` keeps alive; `service` is what the routes in `videos` call; `app` puts them
together and `run` serves them. Workers on other machines are `worker` too, over `remote` instead of
`link`; `claims` are the routes that they call, and `leases` how long they may be silent.
"""
