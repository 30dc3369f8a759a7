"""Golden samples of what a state's type has stored, in files beside your tests: each version must stay readable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from grange.grains.ref import GrainFactory, ReferenceExtension
from grange.proto.message import Encoding
from grange.proto.values import ValueCodec
from grange.proto.zones import is_dict
from grange.storage.states.form import TypedForm

WRITE = "GRANGE_WRITE_SAMPLES"
"""The environment variable that has new samples written."""


class _Sample(msgspec.Struct, rename={"reads_as": "reads as"}):
    version: int
    stored: Any
    reads_as: Any


class _Samples:
    """The samples of one folder, by file name, and what has been found wrong."""

    def __init__(self, kind: Any, folder: Path, write: bool) -> None:
        self._folder = folder
        self._write = write
        self.form: TypedForm[Any] = TypedForm(_codec().of(kind, Encoding.JSON), str(folder))
        self.found = {path.name: _read(path) for path in sorted(folder.glob("*.json"))}
        self.wrong: list[str] = []

    def check_value(self, name: str, value: Any) -> None:
        """What is stored of a value today is the newest sample of its name and version."""
        stored = msgspec.json.decode(self.form.write(value, None).payload)
        stem = f"v{self.form.version}-{name}"
        files = [f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, 100))]
        known = [file for file in files if file in self.found]
        if known and self.found[known[-1]].stored == stored:
            return
        if self._write:
            self._add(files[len(known)], _Sample(self.form.version, stored, None))
        elif known:
            self.wrong.append(
                f"version {self.form.version} stores something else of {name!r} than {known[-1]} has "
                f"({_difference(self.found[known[-1]].stored, stored)}). If rows like the sample can be read as they "
                f"are, set {WRITE}=1 to add a sample; otherwise raise the version and add an upgrade"
            )
        else:
            self.wrong.append(f"there is no sample {files[0]} of what is stored of {name!r}; set {WRITE}=1 to write it")

    def check_sample(self, file: str, sample: _Sample) -> None:
        """A sample is read, and as the same value as before."""
        try:
            value, surplus = self.form.read(msgspec.json.encode(sample.stored), sample.version)
            now = msgspec.json.decode(self.form.write(value, surplus).payload)
        except (TypeError, ValueError, RecursionError) as error:
            self.wrong.append(f"{file} cannot be read any more: {error}")
            return
        if now == sample.reads_as:
            return
        if self._write:
            self._add(file, msgspec.structs.replace(sample, reads_as=now))
        else:
            self.wrong.append(
                f"{file} reads as something else than before ({_difference(sample.reads_as, now)}); if that is meant, "
                f"set {WRITE}=1 to note it"
            )

    def check_versions(self) -> None:
        """Each version that can be read has a sample."""
        have = {sample.version for sample in self.found.values()}
        for version in range(self.form.oldest, self.form.version + 1):
            if version not in have:
                self.wrong.append(
                    f"no sample is of version {version}; write one with the release that stores this version, or by "
                    f'hand: {{"version": {version}, "stored": {{…}}, "reads as": null}}'
                )

    def _add(self, file: str, sample: _Sample) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(sample), indent=2)
        (self._folder / file).write_bytes(text + b"\n")
        self.found[file] = sample


def check_stored_samples(
    kind: Any, folder: str | Path, values: Mapping[str, Any], *, write: bool | None = None
) -> None:
    """Check that a type of state reads all samples in a folder, and stores each value as its newest sample shows.

    `kind` is the type in `PersistentState[...]`, `values` has values of it by a name for each. A sample is a file
    `v2-NAME.json` with the version, what is stored, and what it reads as today. Samples are never changed by this
    function, except for what they read as: so the samples of old versions stay what old releases stored.

    With the environment variable `GRANGE_WRITE_SAMPLES=1`, or `write=True`, missing samples are written. Commit them.

    Raises AssertionError that lists all that is wrong: a sample that cannot be read or reads as another value, a value
    that is stored in another way, a version without a sample.
    """
    samples = _Samples(kind, Path(folder), bool(os.environ.get(WRITE)) if write is None else write)
    for name, value in values.items():
        samples.check_value(name, value)
    for file, sample in list(samples.found.items()):
        samples.check_sample(file, sample)
    samples.check_versions()
    if samples.wrong:
        raise AssertionError("\n".join([f"samples in {folder}:", *(f"- {each}" for each in samples.wrong)]))


def _codec() -> ValueCodec:
    """The codec of a silo, whose references cannot be called."""
    references = ReferenceExtension()
    references.bind(GrainFactory(_refuse, _refuse))
    return ValueCodec([references])


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("a reference in a sample cannot be called")


def _read(path: Path) -> _Sample:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Sample)
    except (ValueError, OSError) as error:
        raise AssertionError(f"{path} is no sample: {error}") from error


def _difference(before: Any, after: Any) -> str:
    """What differs between two stored values, at the top level."""
    if not is_dict(before) or not is_dict(after):
        return "another value"
    texts = {
        "added": [name for name in after if name not in before],
        "gone": [name for name in before if name not in after],
        "changed": [name for name in after if name in before and after[name] != before[name]],
    }
    return "; ".join(f"{word}: {', '.join(map(str, names))}" for word, names in texts.items() if names)
