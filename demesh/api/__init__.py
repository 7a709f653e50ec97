"""The HTTP API of a node: on loopback and on a Unix socket."""
