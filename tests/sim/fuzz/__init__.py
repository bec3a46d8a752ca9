"""Hostile input against a real broker process: what a peer may send, changed in every way, and what must hold after."""
