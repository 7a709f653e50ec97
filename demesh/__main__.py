"""`python -m demesh`."""

from demesh.cli import main

main()
