"""Import of a silo by its name, `module:silo`: the one place that imports code by a name from outside.

The name comes from the command line only; nothing that arrives over a wire reaches this file.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from grange.databases.urls import scheme_of, shown_url
from grange.errors import ConfigurationError
from grange.silo.silo import Silo

_MODULE = re.compile(r"\w+(\.\w+)*")
"""What `python -m` imports by name, too: a part may begin with a digit, such as `13_silo`."""


def named_silo(name: str) -> Silo:
    """Import the silo `module:variable`. The current folder is searched first.

    Raises ConfigurationError if there is no such module or silo, or if the import of the module fails.
    """
    if scheme_of(name) is not None:
        raise ConfigurationError(
            f"{shown_url(name)!r} is a URL, not a silo; write module:variable, and URLs by --membership or --storage"
        )
    module_name, colon, variable = name.partition(":")
    if module_name.endswith(".py"):
        raise ConfigurationError(
            f"a module is named without .py: {module_name[:-3].replace('/', '.')}:{variable or 'silo'}"
        )
    if not (colon and variable.isidentifier() and _MODULE.fullmatch(module_name)):
        raise ConfigurationError(f"{name!r} does not name a silo; write module:variable, such as shop:silo")
    module = _module(module_name)
    silo = getattr(module, variable, None)
    if not isinstance(silo, Silo):
        silos = [f"{module_name}:{name}" for name, value in vars(module).items() if isinstance(value, Silo)]
        problem = (
            "has no such variable" if silo is None else f"has a {type(silo).__name__} there, not a grange.silo.Silo"
        )
        raise ConfigurationError(f"{name}: the module {problem}; silos in it: {', '.join(silos) or 'none'}")
    return silo


def imported_files() -> list[str]:
    """The files below the current folder that this process has imported: those of the application."""
    folder = Path(_current_folder()).resolve()
    files = {
        Path(file).resolve() for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))
    }
    own = [path for path in files if path.is_relative_to(folder) and "site-packages" not in path.parts]
    return sorted(map(str, own))


def _module(name: str) -> ModuleType:
    folder = _current_folder()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            remedy = f"it was looked for in {folder} and among the installed packages"
            raise ConfigurationError(f"there is no module {error.name!r}; {remedy}") from error
        raise ConfigurationError(f"the module {name!r} needs {error.name!r}, which is not installed") from error
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # the module's own code may raise anything, and call sys.exit
        where = "" if isinstance(error, SyntaxError) else _place(error)  # a SyntaxError names its place itself
        raise ConfigurationError(
            f"the module {name!r} cannot be imported: {type(error).__name__}: {error}{where}"
        ) from error


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigurationError(f"the current folder cannot be used: {error.strerror}; change to another") from None


def _place(error: BaseException) -> str:
    """File and line of the innermost frame of the traceback."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
