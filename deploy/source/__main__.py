"""`python -m deploy.source`: write the manifests and the chart. With `--check`, only say which files differ."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from deploy.source.files import CHART, PLAIN, generated

DEPLOY = Path(__file__).parents[1]


def current() -> dict[str, str]:
    """What the files should be now."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    paths = [*DEPLOY.glob("grafana/**/*.json"), *DEPLOY.glob("prometheus/*.yaml")]
    sources = {path.relative_to(DEPLOY).as_posix(): path.read_text() for path in paths}
    return generated(project["version"], sources)


def committed() -> dict[str, str]:
    """What the files are."""
    paths = [path for folder in (CHART, PLAIN) for path in (DEPLOY / folder).rglob("*") if path.is_file()]
    return {path.relative_to(DEPLOY).as_posix(): path.read_text() for path in paths}


def main() -> int:
    wanted, found = current(), committed()
    different = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    for path in different:
        print(f"deploy/{path}")
        if "--check" in sys.argv[1:]:
            continue
        if path not in wanted:
            (DEPLOY / path).unlink()
            continue
        (DEPLOY / path).parent.mkdir(parents=True, exist_ok=True)
        (DEPLOY / path).write_text(wanted[path])
    return 1 if different and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
