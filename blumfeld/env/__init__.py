"""The only door to the world: clock, chance, disk and network.

Everything below `launch/` reaches the outside through an `Env` that it was given; nothing else imports
`time`, `random`, `os`, `socket` or opens a file. Each seam is a small Protocol with a real implementation and
one that tests own.
"""
