"""The observer page: how a running app is, in a browser. Read-only, unless it is told otherwise.

`page` has the files that a browser is given; they hold no data. `gate` (pure) decides who may ask
what, `site` answers, `asking` asks an app over its control socket, `following` shares one stream
of its events between all tabs, and `memory` (pure) knows what a tab that comes later has to be
told. `bridge` serves all that on the loopback interface for ``sprag observe``; `mounted` in an
app's own routes.
"""
