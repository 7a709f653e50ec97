"""What a configuration may say already, but that has no effect in this version: said plainly, never passed over.

A line goes from here when what it speaks of is built.
"""

from collections.abc import Iterator

from demesh.config.check_tables import RUNNABLE, TurnTable
from demesh.config.problems import Problem
from demesh.config.read import Configuration, ReadCheck
from demesh.config.tables import ConfigFile


def not_yet(configuration: Configuration) -> list[str]:
    """One sentence, with file and line, for each key that is understood and has no effect."""
    said: list[str] = []
    for document in configuration.documents:
        found = [each for check in configuration.checks if check.document is document for each in _of_check(check)]
        if configuration.config and document is configuration.documents[0]:
            found += _of_node(configuration.config)
        said += document.sentences([Problem(each.place, f"has no effect yet: {each.sentence}") for each in found])
    return said


def _of_node(config: ConfigFile) -> Iterator[Problem]:
    api = config.api
    if api.public_listen is not None:
        yield Problem(("api", "public_listen"), "this version has no public listener.")
    for index, _ in enumerate(config.server_list):
        yield Problem(("server_list", index), "this version reads no server lists.")


def _of_check(check: ReadCheck) -> Iterator[Problem]:
    table = check.table
    if table is None:
        return
    if check.type not in RUNNABLE:
        yield Problem(
            check.place, f"this version has no probe of type {check.type!r}; the check {table.name!r} is left out."
        )
        return
    if isinstance(table, TurnTable) and table.relay:
        yield Problem((*check.place, "relay"), "this version sends nothing through a relay.")
