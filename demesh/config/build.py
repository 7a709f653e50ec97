"""From a check's validated table to the check that is run: defaults, options, and what others are told of it."""

from typing import Any, Literal, TypeVar

from demesh import limits
from demesh.checks.check import Check
from demesh.config.check_tables import (
    ActualShown,
    CheckTable,
    CommandTable,
    HttpTable,
    LoginTable,
    PythonTable,
    TargetTable,
    TlsTrust,
)
from demesh.config.definition import as_written, definition, expectations
from demesh.config.options import UnfilledKey, expect_of, options_of
from demesh.config.outside import Files, Unfilled, references
from demesh.config.read import ReadCheck
from demesh.config.tables import DefaultsTable
from demesh.errors import EntryError
from demesh.log.plan import split_plan
from demesh.probes.base import ProbeSpec
from demesh.target import public_target

_IP_VERSIONS: dict[str | None, Literal[0, 4, 6]] = {None: 0, "4": 4, "6": 6}
_T = TypeVar("_T")


def build(read: ReadCheck, defaults: DefaultsTable, files: Files) -> Check | None:
    """The check; None if it has a problem, which is noted."""
    table = read.table
    if table is None or read.type is None:
        return None
    try:
        check = _check(read, read.type, table, defaults, files)
    except UnfilledKey as error:
        read.add(error.key, f"{error.problem}.")
        return None
    return check if _can_be_told(read, check) else None


def _check(read: ReadCheck, type_: str, table: CheckTable, defaults: DefaultsTable, files: Files) -> Check:
    def setting(own: _T | None, default: _T | None, otherwise: _T) -> _T:
        return own if own is not None else default if default is not None else otherwise

    verify_tls, ca_file = True, None
    if isinstance(table, TlsTrust):
        verify_tls, ca_file = table.verify_tls, _ca_file(table, files)
    target, written = _target(table), _target_as_written(table, read)
    return Check(
        name=table.name,
        probe=ProbeSpec(
            type=type_,
            target=target,
            timeout_ms=setting(table.timeout, defaults.timeout, 10_000),
            expect=expect_of(table.expect, read.written.get("expect", {})),
            verify_tls=verify_tls,
            ca_file=ca_file,
            ip_version=_IP_VERSIONS[table.ip] if isinstance(table, TargetTable) else 0,
            options=options_of(table, files),
            show_actual=isinstance(table, ActualShown) and table.show_actual,
            all_addresses=isinstance(table, TargetTable) and table.addresses == "all",
        ),
        interval_ms=setting(table.interval, defaults.interval, 60_000),
        retry_interval_ms=setting(table.retry_interval, defaults.retry_interval, 10_000),
        fail_after=setting(table.fail_after, defaults.fail_after, 2),
        recover_after=setting(table.recover_after, defaults.recover_after, 2),
        quorum=setting(table.quorum, defaults.quorum, 0),
        severity=setting(table.severity, defaults.severity, "critical"),
        nodes=tuple(setting(table.nodes, defaults.nodes, ["*"])),
        labels=tuple(sorted(table.labels.items())),
        expectations=expectations(table, read.written),
        definition=definition(table, read.written),
        target=written if references(written) else "",
        show_query=isinstance(table, HttpTable) and table.show_query,
        enabled=table.enabled,
        notify=table.notify,
        anchor=table.anchor,
        depends_on=tuple(table.depends_on),
        runbook=_runbook(table, read.written),
        spread=table.spread or 0,
        listed=isinstance(table, TargetTable) and table.listed,
        own_login=isinstance(table, LoginTable) and table.user is not None,
    )


def _target(table: CheckTable) -> str:
    """The target; of what has none, its kind and its name, never its arguments."""
    match table:
        case TargetTable():
            return table.target
        case CommandTable():
            return f"command:{table.command[0].rpartition('/')[2]}"
        case PythonTable():
            return f"python:{table.entry}"
        case _:
            raise AssertionError(f"a type without a target: {table.type}")


def _target_as_written(table: CheckTable, read: ReadCheck) -> str:
    match table:
        case TargetTable():
            return str(read.written["target"])
        case CommandTable():
            return f"command:{str(read.written['command'][0]).rpartition('/')[2]}"
        case _:
            return f"python:{read.written['entry']}"


def _runbook(table: CheckTable, written: dict[str, Any]) -> str:
    """What of it every member may read."""
    if table.runbook is None:
        return ""
    said = str(as_written(table.runbook, written.get("runbook")))
    return said if references(said) else public_target(said)


def _ca_file(table: TlsTrust, files: Files) -> str | None:
    if table.ca_file is None:
        return None
    try:
        files.content(table.ca_file, limits.CA_FILE_BYTES_MAX)
    except Unfilled as problem:
        raise UnfilledKey("ca_file", problem) from None
    return str(files.path(table.ca_file))


def _can_be_told(read: ReadCheck, check: Check) -> bool:
    """Whether the node's log can tell of the check; notes why not. (All other bounds of a plan are those of the tables.)"""
    for key, said in check.expectations:
        if len(said) > limits.TEXT_CHARS_MAX:
            most = f"at most {limits.TEXT_CHARS_MAX} can be told to other nodes."
            read.add(f"expect.{key}", f"takes {len(said)} characters as JSON; {most}")
            return False
    try:
        row = check.row(bytes(16), True)
        if len(row.target) > limits.TEXT_CHARS_MAX:
            read.add("target", f"is longer than {limits.TEXT_CHARS_MAX} characters.")
            return False
        split_plan([row])
    except ValueError:
        read.add("target", "cannot be read before its ${…} are filled: write the brackets of an IPv6 address into it.")
        return False
    except EntryError:
        read.add("name", "its name, nodes, labels and expectations are more than can be told to other nodes.")
        return False
    return True
