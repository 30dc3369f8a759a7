"""`grange dev` takes free ports: the usual ones, or the next ones above."""

from __future__ import annotations

import socket

from grange.cli.dev import FIRST_HTTP, free_ports


def test_each_silo_has_an_admin_port_of_its_own_and_none_that_is_in_use() -> None:
    taken = free_ports(1)[0][2]
    assert taken >= FIRST_HTTP
    with socket.create_server(("127.0.0.1", taken)):
        ports = [port for silo in free_ports(3) for port in silo]
        assert taken not in ports
        assert len(set(ports)) == len(ports) == 9
