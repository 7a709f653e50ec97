"""demesh: a peer-to-peer gossip monitoring mesh (see docs/architecture.md)."""

__version__ = "0.1.0"
