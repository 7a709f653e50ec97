"""The direct sinks and the heartbeat's URL, which may stand in files of their own. A file is read when the configuration is."""

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from demesh import limits
from demesh.alerts.sink import Sink, is_webhook, shown_url
from demesh.alerts.template import Template
from demesh.config.lines import Path as Place
from demesh.config.outside import Files, Unfilled
from demesh.config.problems import Problem
from demesh.config.read import Document
from demesh.config.tables import ConfigFile, NotifyTable
from demesh.config.values import NotifyUrl, WebUrl


def look_at_sinks(config: ConfigFile, files: Files, main: Document) -> None:
    """Note what is wrong with them beyond the shape of their tables."""
    for index, table in enumerate(config.notify):
        for problem in _of_sink(table, ("notify", index), files):
            main.add(problem.place, problem.sentence)
    alerts = config.alerts
    if alerts.heartbeat_url is not None and alerts.heartbeat_url_file is not None:
        main.add(("alerts", "heartbeat_url_file"), "heartbeat_url is there too; one of the two is enough.")
    elif alerts.heartbeat_url_file is not None:
        place = ("alerts", "heartbeat_url_file")
        sentence = "the file does not hold a URL that can be fetched; one looks like https://hc-ping.example.net/6f1c."
        for problem in _of_file(alerts.heartbeat_url_file, place, files, WebUrl, sentence):
            main.add(problem.place, problem.sentence)


def sink_of(table: NotifyTable, files: Files) -> Sink:
    """The sink of a table in which there are no problems."""
    url = secret_url(table.url, table.url_file, files)
    assert url is not None
    return Sink(
        url=url,
        name=table.name or shown_url(url),
        severities=frozenset(table.severity),
        send_resolved=table.send_resolved,
        repeat_every_ms=table.repeat_every,
        title=Template(table.title) if table.title is not None else None,
        body=Template(table.body) if table.body is not None else None,
        token_file=files.path(table.token_file) if table.token_file is not None else None,
    )


def secret_url(url: str | None, file: str | None, files: Files) -> str | None:
    """A URL that was given as it is, or the file that holds it."""
    return files.secret(file, limits.SECRET_FILE_BYTES_MAX) if file is not None else url


def _of_sink(table: NotifyTable, place: Place, files: Files) -> Iterator[Problem]:
    if (table.url is None) == (table.url_file is None):
        yield Problem(place, "needs either url or url_file.")
        return
    if table.url_file is not None:
        sentence = "the file does not hold a URL for notifications; one looks like ntfy://ntfy.sh/topic."
        problems = list(_of_file(table.url_file, (*place, "url_file"), files, NotifyUrl, sentence))
        if problems:
            yield from problems
            return
    key = "url" if table.url is not None else "url_file"
    url = secret_url(table.url, table.url_file, files)
    assert url is not None
    if is_webhook(url):
        return
    if table.token_file is not None:
        yield Problem((*place, "token_file"), "is for webhooks (http:// or https://) only.")
    from demesh.alerts import apprise_sink  # costs 45 MB, and who has no such URL nothing

    if not apprise_sink.is_known(url):
        yield Problem(
            (*place, key),
            "Apprise makes nothing of this URL; https://appriseit.com/services/ says how each service's looks.",
        )


def _of_file(name: str, place: Place, files: Files, kind: Any, sentence: str) -> Iterator[Problem]:
    try:
        TypeAdapter[str](kind).validate_python(files.secret(name, limits.SECRET_FILE_BYTES_MAX))
    except Unfilled as problem:
        yield Problem(place, f"{problem}.")
    except ValidationError:
        yield Problem(place, sentence)
