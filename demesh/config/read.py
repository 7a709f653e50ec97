"""From files to validated tables, with every problem of every file.

demesh.toml and the files `checks/*.toml` beside it, in the order of their names, are one configuration. Nothing is raised
for what is in a file: `Configuration.problems` says it all, each as `file:line: key: sentence`, in the order of the files.
"""

import graphlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from demesh import limits
from demesh.config import lines as where
from demesh.config.check_tables import TABLES, CheckTable, TargetTable
from demesh.config.outside import Files, Filling, depth_of
from demesh.config.problems import Problem, discreet, nearest, place_text, validation_problems
from demesh.config.tables import ChecksFile, ConfigFile, Table
from demesh.config.targets import find_type
from demesh.errors import ConfigError
from demesh.target import target_problem

_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_T = TypeVar("_T", bound=Table)


@dataclass
class Document:
    """One file. `written` is its content as it stands there, `content` the same with each `${…}` filled."""

    path: Path
    text: str = ""
    written: dict[str, Any] = field(default_factory=dict[str, Any])
    content: dict[str, Any] = field(default_factory=dict[str, Any])
    problems: list[Problem] = field(default_factory=list[Problem])
    unreadable: str | None = None

    @cached_property
    def _lines(self) -> dict[where.Path, int]:
        return where.key_lines(self.text)

    def line(self, place: where.Path) -> int:
        return where.line_of(self._lines, place)

    def sentences(self, problems: Sequence[Problem]) -> list[str]:
        """`problems` of this file in the order of their lines."""
        said = [(self.line(each.place), f"{place_text(each.place)}: {each.sentence}") for each in problems]
        return [f"{self.path}:{line}: {sentence}" for line, sentence in sorted(said, key=lambda each: each[0])]

    def add(self, place: where.Path, sentence: str) -> None:
        """Note a problem; `sentence` may repeat the value at `place`, which is taken out if it came from elsewhere."""
        self.problems.append(Problem(place, discreet(sentence, place, self.content, self.written)))


@dataclass(frozen=True)
class ReadCheck:
    """One `[[check]]`; `table` is None if it is not valid."""

    document: Document
    index: int
    type: str | None
    table: CheckTable | None

    @property
    def place(self) -> where.Path:
        return ("check", self.index)

    @property
    def written(self) -> dict[str, Any]:
        return self.document.written["check"][self.index]

    @property
    def name(self) -> str | None:
        """Its name, valid or not."""
        name = self.document.content["check"][self.index].get("name")
        return name if isinstance(name, str) else None

    def add(self, key: str, sentence: str) -> None:
        """Note a problem of `key`, which may be dotted."""
        self.document.add((*self.place, *key.split(".")), sentence)


@dataclass(frozen=True)
class Configuration:
    """All files. `config` is None if the main one is not valid (but for its checks)."""

    documents: tuple[Document, ...]
    config: ConfigFile | None
    checks: tuple[ReadCheck, ...]
    files: Files

    @property
    def problems(self) -> list[str]:
        return [
            sentence
            for document in self.documents
            for sentence in ([document.unreadable] if document.unreadable else document.sentences(document.problems))
        ]


def checks_directory(path: Path) -> Path:
    """Where more checks stand, beside the configuration file `path`."""
    return path.parent / "checks"


def config_files(path: Path) -> list[Path]:
    """The files of the configuration whose main one is `path`, that one first."""
    try:
        others = sorted(each for each in checks_directory(path).glob("*.toml") if not each.name.startswith("."))
    except OSError:  # nobody may look into it: then what stands there cannot be meant for us
        others = []
    return [path, *others]


def read(path: Path, environment: Mapping[str, str], texts: Mapping[Path, str] | None = None) -> Configuration:
    """Everything in the configuration whose main file is `path`; `texts` are taken for the content of files."""
    documents = [_document(each, environment, (texts or {}).get(each)) for each in config_files(path)]
    main = documents[0]
    config = _validated(main, ConfigFile)
    checks: list[ReadCheck] = []
    for document in documents:
        tables = document.content.get("check", [])
        if document is not main:
            _validated(document, ChecksFile)
        if isinstance(tables, list) and all(isinstance(each, dict) for each in cast(list[Any], tables)):
            checks += [_check(document, index, each) for index, each in enumerate(cast(list[dict[str, Any]], tables))]
    _compare(checks, config, main)
    return Configuration(tuple(documents), config, tuple(checks), Files(path.parent))


def _document(path: Path, environment: Mapping[str, str], text: str | None) -> Document:
    try:
        if text is None:
            text = read_text(path)
        written = tomllib.loads(text)
    except ConfigError as error:
        return Document(path, unreadable=error.problems[0])
    except tomllib.TOMLDecodeError as error:
        said, line = str(error), 1
        if found := _TOML_PLACE.search(said):
            said = said[: found.start()]
            line = int(found[1]) if found[1] else max(1, len((text or "").splitlines()))
        return Document(path, unreadable=f"{path}:{line}: not TOML: {said[:1].lower()}{said[1:]}.")
    except (RecursionError, ValueError) as error:  # arrays in arrays without end; a number or a date that there is not
        said = "nested too deep" if isinstance(error, RecursionError) else "a number or a date that cannot be"
        return Document(path, unreadable=f"{path}:1: not TOML: {said}.")
    document = Document(path, text, written)
    for key, value in written.items():
        if depth_of(value, limits.CONFIG_DEPTH_MAX) > limits.CONFIG_DEPTH_MAX:
            document.unreadable = f"{path}:{document.line((key,))}: {key}: is nested too deep."
            return document
    filling = Filling(environment)
    document.content = filling.fill(written)
    document.problems += [Problem(place, f"{said}.") for place, said in filling.problems.items()]
    return document


def is_there(path: Path) -> bool:
    """Whether there is something at `path`, as far as this user may know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(limits.CONFIG_BYTES_MAX + 1)
        text = raw.decode()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}."]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text (byte {error.start})."]) from None
    if len(raw) > limits.CONFIG_BYTES_MAX:
        raise ConfigError([f"{path}: larger than {limits.CONFIG_BYTES_MAX} bytes."])
    return text


def _validated(document: Document, model: type[_T]) -> _T | None:
    try:
        return model.model_validate(document.content)
    except ValidationError as error:
        _note(document, validation_problems(error, model, document.content, document.written))
        return None


def _check(document: Document, index: int, content: dict[str, Any]) -> ReadCheck:
    written = document.written["check"][index]
    place: where.Path = ("check", index)
    type_, wrong = find_type(content)
    if wrong and (*place, wrong[0]) not in {each.place for each in document.problems}:
        document.add((*place, wrong[0]), wrong[1])
    model = TABLES[type_] if type_ else CheckTable
    try:
        table = model.model_validate(content)
    except ValidationError as error:
        found = validation_problems(error, model, content, written, place)
        if type_ is None:  # what belongs to one type or another cannot be judged
            found = (each for each in found if not each.sentence.startswith(("belongs to", "a check of this type")))
        _note(document, found)
        return ReadCheck(document, index, type_, None)
    check = ReadCheck(document, index, type_, table if type_ else None)
    for key, sentence in table.conflicts():
        check.add(key, sentence)
    if isinstance(table, TargetTable) and type_ and (said := target_problem(type_, table.target)):
        check.add("target", said)
    return check


def _note(document: Document, problems: Iterator[Problem] | Sequence[Problem]) -> None:
    """Note `problems` but for those of a value that is known to be unfilled."""
    unfilled = {each.place for each in document.problems}
    document.problems += [each for each in problems if each.place not in unfilled]


def _compare(checks: Sequence[ReadCheck], config: ConfigFile | None, main: Document) -> None:
    """Note what no table can tell by itself: names taken twice, names of what there is not."""
    first: dict[str, ReadCheck] = {}
    for check in checks:
        if check.name is not None and first.setdefault(check.name, check) is not check:
            other = first[check.name]
            there = "" if other.document is check.document else f" in {other.document.path}"
            check.add("name", f"there is another check named {check.name!r}{there}; names must differ.")
    if len(checks) > limits.CHECKS_MAX:
        checks[-1].add("name", f"there are {len(checks)} checks; at most {limits.CHECKS_MAX} are allowed.")
    needs: dict[str, list[str]] = {}
    for check in checks:
        if check.table is None:
            continue
        needs.setdefault(check.table.name, check.table.depends_on)
        for index, name in enumerate(check.table.depends_on):
            if name not in first:
                place = (*check.place, "depends_on", index)
                check.document.add(place, f"there is no check {name!r}{nearest(name, first)}")
    for ring in _rings(needs):
        first[ring[0]].add("depends_on", f"comes back to itself: {', '.join(map(repr, ring))}.")
    for index, table in enumerate(config.maintenance if config else ()):
        for position, name in enumerate(table.checks or ()):
            if name not in first:
                place = ("maintenance", index, "checks", position)
                main.add(place, f"there is no check {name!r}{nearest(name, first)}")


def _rings(needs: dict[str, list[str]]) -> Iterator[list[str]]:
    """Names that need each other in a ring, the first again at the end; rings that share a name are one after the other."""
    while True:
        try:
            graphlib.TopologicalSorter(needs).prepare()
            return
        except graphlib.CycleError as error:
            ring = cast(list[str], error.args[1])
            yield ring
            needs = {name: others for name, others in needs.items() if name not in ring}
