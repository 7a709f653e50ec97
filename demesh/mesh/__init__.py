"""The mesh: what carries entries between nodes (docs/protocol.md)."""
