"""What this process holds of what must not grow while its mesh stays the same, for `/metrics`; the client library tells the rest
of it (memory, descriptors).
"""

from demesh.api.exposition import Family
from demesh.mesh.network import Usage


def resource_metrics(usage: Usage, tasks: int) -> str:
    """The text; `tasks` are those of the event loop."""
    told = (
        ("demesh_connections", "Connections to peers, which may have more than one.", usage.connections),
        ("demesh_inbound_slots", "Places for accepted connections that are taken.", usage.inbound_slots),
        ("demesh_streams", "Streams open on all connections.", usage.streams),
        ("demesh_tasks", "Tasks of the event loop.", tasks),
    )
    families = [Family(name, explanation) for name, explanation, _ in told]
    for family, (_, _, value) in zip(families, told, strict=True):
        family.add("", value)
    return "".join(family.text() for family in families)
