"""Calls of grains to the observers of clients. Open `routes.py` first.

`routes.py` carries a call from a silo to the client, on the connection that the client opened to its gateway.
`client_end.py` receives it there. `host.py` has the observers of one client and runs their turns; a silo has one, too,
for the observers of code in its process.
"""
