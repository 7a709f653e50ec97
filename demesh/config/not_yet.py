"""What a configuration may say already, but that has no effect in this version: said plainly, never passed over.

A line goes from here when what it speaks of is built.
"""

from collections.abc import Iterator, Sequence

from demesh.config.check_tables import RUNNABLE
from demesh.config.problems import Problem
from demesh.config.read import Configuration, ReadCheck
from demesh.config.tables import ConfigFile


def not_yet(configuration: Configuration, left_out: Sequence[tuple[int, str, int]] = ()) -> list[str]:
    """One sentence, with file and line, for each key that is understood and has no effect.

    `left_out`: of each list of servers, by its index, how many of a type have no probe.
    """
    said: list[str] = []
    for document in configuration.documents:
        found = [each for check in configuration.checks if check.document is document for each in _of_check(check)]
        if configuration.config and document is configuration.documents[0]:
            found += [*_of_node(configuration.config), *_of_lists(left_out)]
        said += document.sentences([Problem(each.place, f"has no effect yet: {each.sentence}") for each in found])
    return said


def _of_node(config: ConfigFile) -> Iterator[Problem]:
    api = config.api
    if api.public_listen is not None:
        yield Problem(("api", "public_listen"), "this version has no public listener.")


def _of_lists(left_out: Sequence[tuple[int, str, int]]) -> Iterator[Problem]:
    for index, type_, many in left_out:
        sentence = (
            f"this version has no probe of type {type_!r}; the servers of this type, {many} in all, are left out."
        )
        yield Problem(("server_list", index), sentence)


def _of_check(check: ReadCheck) -> Iterator[Problem]:
    table = check.table
    if table is None:
        return
    if check.type not in RUNNABLE:
        yield Problem(
            check.place, f"this version has no probe of type {check.type!r}; the check {table.name!r} is left out."
        )
