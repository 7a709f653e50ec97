"""A `docker` for deploy/swarm: keeps volumes, secrets and configs in the directory FAKE_DOCKER, and writes down what it is asked.

It says nothing of how an engine behaves (tests/deploy/test_swarm_engine.py asks a real one), only what the script asks of one.
What `run` is told to do in the image is done here, in the volume's directory.
"""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

STATE = Path(os.environ["FAKE_DOCKER"])


def main(arguments: list[str]) -> int:
    with (STATE / "arguments").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    match arguments:
        case ["info", *_]:
            print(os.environ.get("FAKE_DOCKER_SWARM", "active true"))
        case ["build", *_]:
            print("sha256:" + (STATE / "image").read_text())
        case ["image", "inspect", *_]:
            print(1_000_000)
        case ["node", "ls", *_]:
            print("one")
        case ["run", *rest]:
            return _run(rest)
        case ["service", "ls", *_] | ["stack", "services" | "ps", *_] | ["tag" | "ps" | "network", *_]:
            pass
        case ["stack", "deploy", *rest]:
            _deploy(rest)
        case ["stack", "rm", name]:
            for kind in ("secret", "config"):
                for each in _all(kind):
                    if each.name.startswith(f"{name}_"):
                        each.unlink()
        case [("volume" | "secret" | "config") as kind, "inspect", name]:
            return int(not (STATE / kind / name).exists())
        case [("volume" | "secret" | "config") as kind, "ls", *_]:
            print("\n".join(each.name for each in _all(kind)))
        case ["volume", "create", *_, name]:
            (STATE / "volume" / name).mkdir()
        case ["secret", "create", *_, name, "-"]:
            content = sys.stdin.buffer.read()
            if not content or (STATE / "secret" / name).exists():
                return 1
            (STATE / "secret" / name).write_bytes(content)
        case [("secret" | "config") as kind, "rm", name]:
            if name in (STATE / "used").read_text().split():
                return 1
            (STATE / kind / name).unlink()
        case _:
            print(f"this docker does not know: {arguments}", file=sys.stderr)
            return 1
    return 0


def _all(kind: str) -> list[Path]:
    return sorted((STATE / kind).iterdir())


def _run(arguments: list[str]) -> int:
    mount = arguments[arguments.index("-v") + 1]
    volume, _, _ = mount.partition(":")
    command = arguments[arguments.index("-euc") :]
    return subprocess.run(["sh", *command], cwd=STATE / "volume" / volume, check=False).returncode


def _deploy(arguments: list[str]) -> None:
    """What the stack is made of: the variables that the script has set, and copies of the files that these name."""
    told = {
        name: value for name, value in os.environ.items() if name.endswith("_VERSION") or name.startswith("DEMESH_")
    }
    deployed = STATE / "deployed"
    shutil.rmtree(deployed, ignore_errors=True)
    deployed.mkdir()
    for name in [each.removesuffix("_VERSION") for each in told if each.endswith("_VERSION")]:
        if (path := os.environ.get(name, "")).startswith("/"):
            shutil.copy(path, deployed / name)
            (STATE / "config" / f"{arguments[-1]}_{name}_{told[f'{name}_VERSION']}").touch()
    (deployed / "variables.json").write_text(json.dumps(told))
    files = [Path(after).name for before, after in pairwise(arguments) if before == "-c"]
    (deployed / "files.json").write_text(json.dumps(files))
    used = [each.name for each in _all("secret") if each.name.rpartition("_")[2] in told.values()]
    used += [each.name for each in _all("config") if each.name.rpartition("_")[2] in told.values()]
    (STATE / "used").write_text("\n".join(used))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
