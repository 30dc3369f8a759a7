"""`grange`, and the same as `python -m grange`."""

import os

# Read by gRPC when it is imported. Its own lines on standard error would only repeat what our errors say.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from grange.cli.commands import main

if __name__ == "__main__":
    main(prog_name="grange")
