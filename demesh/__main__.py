"""`python -m demesh`, and what the `demesh` command calls: Ctrl-C is no traceback, from the first import on."""

import sys


def main() -> None:
    """Does what `demesh.cli.main` does."""
    try:
        from demesh.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
