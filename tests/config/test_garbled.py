"""Whatever is in a file: settings come of it, or sentences; nothing else."""

import random
from pathlib import Path
from typing import Any

import tomlkit
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from demesh.config.check_tables import TABLES
from demesh.config.command_line import CommandLine
from demesh.config.load import load
from demesh.config.source import ConfigSource
from demesh.config.tables import ConfigFile
from demesh.errors import UsageError
from demesh.log.codec import decode, encode
from demesh.log.plan import read_plan_part, split_plan

_EXAMPLES = [path.read_text() for path in sorted((Path(__file__).parent / "examples").glob("*.toml"))]
_PIECES = [
    *(
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        '"',
        "'",
        '"""',
        "\\",
        "=",
        ".",
        ",",
        "#",
        "\n",
        "${",
        "${X}",
        "$${",
        "\x00",
        "ü",
        "-",
    ),
    *("[[check]]\n", "[check.expect]\n", "target", "type", 'type = "dns"\n', "1", "true", "1979-05-27", "nan", "0x"),
    *(
        "https://",
        "dns:///",
        "[::1",
        "@",
        "%",
        ":99999",
        "expect = {",
        "}\n",
        "headers",
        "depends_on",
        '["lb"]',
        "(" * 9,
    ),
]
_WITHOUT_FIXTURE_RESET = with_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _look(path: Path, text: str) -> None:
    """Load `text`; every problem has its file, and every check of sound settings can be told to others."""
    found = load(path, {"X": "x"}, {path: text})
    assert bool(found.problems) == (found.settings is None)
    assert all(each.startswith(f"{path}:") and "\n" not in each for each in found.problems)
    if found.settings:
        rows = [check.row(bytes(16), True) for check in found.settings.checks]
        read = [read_plan_part(decode(encode(part.payload()))) for part in split_plan(rows)]
        assert [row for part in read for row in part.rows] == rows


@_WITHOUT_FIXTURE_RESET
@given(st.sampled_from(_EXAMPLES), st.integers(0, 2**32), st.integers(1, 12))
def test_an_example_with_pieces_taken_out_and_put_in(tmp_path: Path, text: str, seed: int, times: int) -> None:
    rng = random.Random(seed)
    for _ in range(times):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + text[at + rng.randrange(30) :]
            case 1:
                text = text[:at] + rng.choice(_PIECES) + text[at:]
            case 2:
                lines = text.splitlines(keepends=True) or [""]
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                text = "".join(lines)
            case _:
                text = text.replace(rng.choice(text.split() or ["x"]), rng.choice(_PIECES), 1)
    _look(tmp_path / "demesh.toml", text)


_KEYS = sorted({key for table in TABLES.values() for key in table.model_fields} - {"json_"})
_EXPECTATIONS = ["status", "body", "json", "header", "answer", "rcode", "records", "output", "cert_expires_in"]
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none().map(lambda _: 1)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=20)
    | st.sampled_from(["30s", "14d", "https://a/b?c", "tcp://a:1", "dns:///a", "ping://a", "turn://a", "GET", "2", "x"])
    | st.sampled_from(["http", "tls", "command", "python", "udp", "any", "*", "tag:eu", "${X}", "${Y}", "$.a", "json"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_CHECKS = st.dictionaries(
    st.sampled_from(_KEYS), _VALUES | st.dictionaries(st.sampled_from(_EXPECTATIONS), _VALUES, max_size=3), max_size=6
)
_MAIN = st.dictionaries(st.sampled_from(sorted(ConfigFile.model_fields)), _VALUES, max_size=3)


@_WITHOUT_FIXTURE_RESET
@given(_MAIN, st.lists(_CHECKS, max_size=3))
def test_known_keys_with_any_values(tmp_path: Path, main: dict[str, Any], checks: list[dict[str, Any]]) -> None:
    _look(tmp_path / "demesh.toml", tomlkit.dumps({**main, "check": checks} if checks else main))


@_WITHOUT_FIXTURE_RESET
@given(st.binary(max_size=60))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "demesh.toml"
    path.write_bytes(content)
    assert all(each.startswith(f"{path}:") for each in load(path, {}).problems)


@_WITHOUT_FIXTURE_RESET
@given(
    st.sampled_from(["", "http://", "https://", "tcp://", "tls://", "dns://", "dns:///", "ping://", "stun://"]),
    st.text(max_size=20) | st.text("-.:/@?#[]%$ab1{}", max_size=20),
)
def test_any_target_on_the_command_line(tmp_path: Path, scheme: str, text: str) -> None:
    source = ConfigSource(tmp_path / "none.toml", CommandLine(targets=(scheme + text,)), needed=False)
    try:
        (found,) = source.load().checks
    except UsageError:
        return
    rows = [found.row(bytes(16), True)]
    (part,) = split_plan(rows)
    assert list(read_plan_part(decode(encode(part.payload()))).rows) == rows
