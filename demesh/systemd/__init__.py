"""What a node says to systemd (`notify`, `telling`, `status`), and how it is run by it (`unit`, `installing`)."""
