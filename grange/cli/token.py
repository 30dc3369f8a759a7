"""The token that a command sends: `--token-file`, else the options of this machine's silo, else a data folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grange.admin_token import read_admin_token
from grange.cli.here import Here
from grange.errors import ConfigurationError
from grange.local_records import data_folder_of
from grange.proto.handshake import LONGEST_TOKEN, check_token
from grange.proto.ids import split_endpoint

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


def find_token(here: Here, token_file: str, gateways: Sequence[str], is_own_table: bool) -> str:
    """The token for these gateways; empty if there is none. `is_own_table`: the table in the data folder lists them.

    Silos of this user that run at these gateways tell their data folder by their records. Else it is the folder of
    this command, whose token goes to no gateway of another machine that the folder does not know. Raises
    ConfigurationError for a file that cannot be used.
    """
    if token_file:
        return _read(Path(token_file))
    if here.token:
        return here.token
    recorded = [] if is_own_table else [data_folder_of(each) for each in gateways]
    if recorded and None not in recorded:
        return next((token for folder in recorded if folder and (token := read_admin_token(folder))), "")
    if is_own_table or all((split_endpoint(each) or ("", 0))[0] in _HERE for each in gateways):
        return read_admin_token(Path(here.data)) or ""
    return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_TOKEN + 2)
    except OSError as error:
        raise ConfigurationError(f"--token-file: {str(path)!r} cannot be read: {error.strerror}") from None
    try:
        return check_token(data.decode("ascii", "replace").strip())
    except ValueError as error:
        raise ConfigurationError(f"--token-file: {str(path)!r}: {error}") from None
