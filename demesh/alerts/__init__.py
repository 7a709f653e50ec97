"""Alerts: what is wrong now (`incident`), what is to be sent when (`outbox`), and the senders, one file each."""
