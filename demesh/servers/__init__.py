"""Public servers: lists of them, and which of those that a list names are worth asking."""
