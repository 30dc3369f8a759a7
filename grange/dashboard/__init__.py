"""The dashboard: shows a whole cluster in a browser, and acts on it.

Each silo answers for itself; no grain is involved. A silo serves the dashboard on its admin port; `grange dashboard` is
a process of its own, over a client. Open `app.py` first: it lists the routes and puts the parts together.

- ask: `cluster.py` (the contract to a cluster), `collector.py` (asks every silo each second while a page is open),
  `lists.py` (asks for what one page shows), `actions.py`;
- decide, pure: `merge.py` (answers of many silos in one), `views.py` (the JSON of each page), `search.py` (the filter
  and the cursor of a list over all silos), `roles.py`;
- guard: `headers.py` (hosts, origins, headers, the login before every route), `login.py` (tokens, users, sessions);
- send: `live.py` (server-sent events), `static/` (the pages).
"""
