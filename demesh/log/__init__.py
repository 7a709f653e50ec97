"""The log: what one node says, in order, signed, for ever the same (docs/protocol.md).

`entry` is the codec, one module per kind its payload, `chain` the rules by which logs grow, `writer` and `batch` make own
entries, `epoch` decides at start whether the own log goes on, `store` keeps everything in SQLite. All but the store are
pure: no clock, no disk, no network, no randomness.
"""
