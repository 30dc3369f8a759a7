"""A process outside the cluster that calls grains. Open `client.py` first; `gateways.py` chooses the silo of a call.

`questions.py` asks management of many silos at once, for the command line and the dashboard.
"""

from grange.client.client import Client
from grange.client.events import ClusterFound, ClusterLost, ConnectionEvent, GatewayFound, GatewayLost
from grange.client.options import ClientOptions

__all__ = [
    "Client",
    "ClientOptions",
    "ClusterFound",
    "ClusterLost",
    "ConnectionEvent",
    "GatewayFound",
    "GatewayLost",
]
