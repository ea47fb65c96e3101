"""Engines by role, the embedded server, migrations; beginning and committing."""
