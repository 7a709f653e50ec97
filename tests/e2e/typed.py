"""What README and docs tell to type in: which of it is run by tests/e2e/test_help_examples.py, and where the rest is run.

Guarantees that a command in docs is one or the other (`test_every_command_of_the_docs_is_run_or_named`), if it is a line of
four spaces that begins with one of `_PROGRAMS`, or stands in a block of ```sh, which holds nothing but commands. Not guaranteed:
what is only mentioned in a sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md")), _ROOT / "swarm_key/README.md"]
PLAYED = {"The first hour", "Updating, moving, losing"}
"""Sections whose blocks are run in their order by tests/e2e/test_first_hour.py."""
_PROGRAMS = (
    r"demesh|sudo|runuser|curl|docker|deploy/\w+|git|ssh|python3?|bin/test|systemctl|journalctl|promtool|amtool|apt-get"
)
_LINE = re.compile(rf"^    (?:\$ |[a-z]+\$ +)?((?:bin/)?(?:{_PROGRAMS}) .*|bin/test)$")
_REMARK = re.compile(r" {2,}.*| # .*")
_ELSEWHERE = {
    r"demesh demo": "tests/e2e/test_demo.py",
    r"demesh install-unit": "tests/cli/test_install_unit.py, for it changes the machine; and by test_first_hour.py",
    r"docker |deploy/swarm ": "tests/deploy/test_swarm_engine.py, where there is an engine",
    r"git clone ": "the same, and what comes behind it is run here",
    r"ssh ": "by hand; what it runs there has an example of its own",
    r"python -m tests\.": "tests/bench, tests/churn, tests/load, tests/sim and tests/test_a_day.py",
    r"bin/test": "by whoever reads this",
    r"demesh status: ": "nothing: a table of benchmarks",
    r"demesh .* --watch": "tests/cli/test_watching.py, for it wants a terminal",
    r"demesh swarm-key rotate --without": "tests/e2e/test_rotation.py, for it wants another member",
    r"demesh .*(?: > /etc/| /mnt/| --data-dir /var/)": "as the example in the help of the command, without that place",
    r"demesh explain .* --from logs.jsonl": "tests/cli/test_explain.py; it is behind the command that makes the file",
    r"demesh explain .* --since 2025": "tests/cli/test_explain.py; nothing was running then",
}
"""What is not run as it stands there, and where it is run."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, without the remark behind it and without what gives it another user or place."""

    page: Path
    section: str
    command: str

    @property
    def elsewhere(self) -> str | None:
        """Where it is run, if not by tests/e2e/test_help_examples.py."""
        if self.section in PLAYED:
            return "tests/e2e/test_first_hour.py"
        return next((where for what, where in _ELSEWHERE.items() if re.match(what, self.command)), None)


def typed() -> Iterator[Typed]:
    """All of it, in order."""
    for page in _PAGES:
        section, block = "", ""
        for line in page.read_text().splitlines():
            if line.lstrip().startswith("```"):
                block = "" if block else line.strip()
            elif (block == "```sh" and line.strip()) or (not block and _LINE.match(line)):
                found = _LINE.match(line)
                yield Typed(page, section, _plain(found[1] if found else line.strip()))
            elif not block and line.startswith("#"):
                section = line.lstrip("# ")


def blocks(page: str, section: str) -> list[str]:
    """The texts of the ```sh blocks of a section."""
    text = (_ROOT / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return ["".join(line.removeprefix(indent) for line in block.splitlines(keepends=True)) for indent, block in found]


def _plain(command: str) -> str:
    command = _REMARK.sub("", command)
    command = re.sub(r"^sudo (?:-u \w+ )?|^runuser -u \w+ -- ", "", command)
    return command.replace("demesh/bin/demesh", "demesh").replace("bin/demesh", "demesh")
