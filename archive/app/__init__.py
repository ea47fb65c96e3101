"""Mounting the rooms into one ASGI application, and the processes that run it."""
