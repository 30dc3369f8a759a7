"""How gRPC writes an endpoint."""

from __future__ import annotations


def place(host: str, port: int) -> str:
    """host:port, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
