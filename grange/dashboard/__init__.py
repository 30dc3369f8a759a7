"""The dashboard: shows a whole cluster in a browser, and acts on it.

Each silo answers for itself; no grain is involved. A silo serves the dashboard on its admin port; `grange dashboard` is
a process of its own, over a client. Open `app.py` first: it lists the routes and puts the parts together.

- ask: `cluster.py` (the contract to a cluster), `collector.py` (figures, each second while a page is open), `lists.py`
  (what one page shows), `journals.py` and `journal_routes.py` (events, log lines, traces), `actions.py`;
- decide, pure: `changes.py` (what was counted between two snapshots), `picture.py`, `points.py`, `past.py`, `views.py`
  (the JSON of each page), `search.py` (a list over all silos), `timeline.py`, `health.py`, `roles.py`;
- guard: `headers.py` (origins, headers, the login before every route), `login.py` (tokens, users, sessions);
- send: `replies.py`, `live.py` (server-sent events), `static/` (the pages);
- run: `page.py` (in a silo), `standalone.py` (alone).
"""
