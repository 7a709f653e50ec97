"""A configuration directory of a test."""

from pathlib import Path

from demesh.checks.check import Check
from demesh.config.load import Loaded, Settings, load


def written(directory: Path, **texts: str) -> Path:
    """The main file of a configuration: `main` is its text, each other the text of a file in `checks/`."""
    for name, text in texts.items():
        path = directory / ("demesh.toml" if name == "main" else f"checks/{name}.toml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return directory / "demesh.toml"


def loaded(directory: Path, text: str, **environment: str) -> Loaded:
    return load(written(directory, main=text), environment)


def settings(directory: Path, text: str, **environment: str) -> Settings:
    """Of a configuration that has no problems."""
    found = loaded(directory, text, **environment)
    assert found.problems == []
    assert found.settings
    return found.settings


def check(directory: Path, text: str, **environment: str) -> Check:
    """The one check whose table says `text` besides its name."""
    (only,) = settings(directory, f'[[check]]\nname = "a"\n{text}\n', **environment).checks
    return only
