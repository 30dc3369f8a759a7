"""A version of the application that ends at its start: `grange run tests.deploy.kubelet.broken:silo`."""

from __future__ import annotations

raise RuntimeError("this version does not start")
