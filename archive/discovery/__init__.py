"""SIA, SSA and cone search: one SELECT on the holdings each."""
