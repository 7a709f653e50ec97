"""Checks: named definitions of what to probe, and the runner that does it on time."""
