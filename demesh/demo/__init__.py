"""`demesh demo`: three nodes and what they watch, on one machine. Knows the command line of a node, and nothing inside it."""
