"""The NGAS face of the store: its commands at the root of a port, for clients and servers that speak NGAS.

app.py takes requests, commands.py knows the commands, and the other modules are one kind of them each. Where the wire
differs from that of NGAS on purpose: docs/reference/ngas.md.
"""
