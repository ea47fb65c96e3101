"""Users' own tables: a schema a user, tables made, filled, indexed, shared and dropped while the archive runs.

`names`: what they are called. `seeing`: who sees which, in PostgreSQL and in TAP_SCHEMA. `keeping`: what changes them,
within a quota. Who asks is archive.access', how it is asked tap's.

A relation's columns are c1, c2, ..., as of uploads: a user's names may be any, PostgreSQL's may not.
"""
