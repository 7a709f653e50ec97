"""Probes: the code that speaks one protocol to one target once. One file a protocol."""
