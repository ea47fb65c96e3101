"""The sky in SQL: one interface, two adapters (pgSphere and plain PostgreSQL), one contract suite."""
