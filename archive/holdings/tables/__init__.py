"""The tables of the holdings, a module a schema."""
