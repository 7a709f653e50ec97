"""A `docker` for deploy/swarm: keeps volumes, secrets and configs in the directory FAKE_DOCKER, and writes down what it is asked.

It says nothing of how an engine behaves (tests/deploy/test_swarm_engine.py asks a real one), only what the script asks of one.
What `run` is told to do in the image is done here, in the volume's directory. How services are a test says in files of that
directory, a line for each time that it is asked, of which the last stays: `updates`, `replicas`, `tasks` (what they are made of).
It is started a thousand times, so it imports what takes long where that is needed.
"""

import json
import os
import sys
from itertools import pairwise
from pathlib import Path

STATE = Path(os.environ["FAKE_DOCKER"])
_OLD = bool(os.environ.get("FAKE_DOCKER_OLD"))


def main(arguments: list[str]) -> int:
    with (STATE / "arguments").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    match arguments:
        case ["info", "--format", asked]:
            print("me" if "NodeID" in asked else os.environ.get("FAKE_DOCKER_SWARM", "active true"))
        case ["build", *rest]:
            (STATE / "image" / rest[rest.index("-t") + 1]).touch()
        case ["image", "inspect", name, *_]:
            if not (STATE / "image" / name).exists():
                return 1
            print(1_000_000)
        case ["node", "ls", "-q", *filters]:
            print("one" if not filters or (STATE / "label").exists() else "")
        case ["node", "update", "--label-add", label, node]:
            (STATE / "label").write_text(f"{label} {node}")
        case ["network", "ls", *_]:
            print("one" if "label=" not in str(arguments) else "")
        case ["network", "inspect", *_]:
            print((STATE / "networks").read_text())
        case ["run", *rest]:
            return _run(rest)
        case ["exec", *_] | ["stack", "services" | "ps", *_]:
            pass
        case ["ps", *_]:
            print("a-task" if "health=healthy" in arguments else "")
        case ["service" | "inspect", *_]:
            return _service(arguments)
        case ["stack", "deploy", "--help"]:
            print("" if _OLD else "  -d, --detach     Exit immediately")
        case ["stack", "deploy", *rest]:
            if _OLD and "--detach=true" in rest:
                return 125
            _deploy(rest)
        case ["stack", "rm", name]:
            import shutil

            shutil.rmtree(STATE / "deployed")
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


def _service(arguments: list[str]) -> int:
    """Of the one service that there is when the stack is."""
    there = (STATE / "deployed").exists()
    match arguments:
        case ["service", "ls", *_, asked]:
            print("" if not there else "a-service" if "Replicas" not in asked else _said("replicas"))
        case ["service", "inspect", _, "--format", asked] | ["service", "inspect", "--format", asked, _] if there:
            answers = {
                "UpdateStatus": lambda: _said("updates"),
                "PreviousSpec": (STATE / "previous").read_text,
                ".Spec.Name": lambda: "demesh_demesh",
                "SecretName": lambda: " ".join(each.name for each in _all("secret")),
                "": lambda: "what is deployed",
            }
            print(next(answer for name, answer in answers.items() if name in asked)())
        case ["service", "ps", "-q", *_]:
            print("a-task")
        case ["inspect", "--type", "task", "a-task", *_]:
            print(_said("tasks"))
        case _:
            return 1
    return 0


def _said(name: str) -> str:
    first, *rest = (STATE / name).read_text().split("\n")
    if rest:
        (STATE / name).write_text("\n".join(rest))
    return first


def _all(kind: str) -> list[Path]:
    return sorted((STATE / kind).iterdir())


def _run(arguments: list[str]) -> int:
    """What stands at the root of a container stands in `root` here."""
    import shutil
    import subprocess

    mount = arguments[arguments.index("-v") + 1]
    volume, _, _ = mount.partition(":")
    _, command, *rest = arguments[arguments.index("-euc") :]
    root = STATE / "root"
    shutil.rmtree(root, ignore_errors=True)
    for place in ("etc/demesh", "run/secrets"):
        (root / place).mkdir(parents=True)
        command = command.replace(f"/{place}", str(root / place))
    unpack = f"tar -C {root}/etc/demesh -x"
    command = command.replace(
        unpack, f"{unpack}; sed -i 's#/run/secrets#{root}/run/secrets#' {root}/etc/demesh/demesh.toml"
    )
    return subprocess.run(["sh", "-euc", command, *rest], cwd=STATE / "volume" / volume, check=False).returncode


def _deploy(arguments: list[str]) -> None:
    """What the stack is made of: the variables that the script has set, and copies of the files that these name."""
    import shutil

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
    shutil.copy(STATE / "used", STATE / "previous")
    (STATE / "used").write_text("\n".join(used))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
