"""TAP 1.1: ADQL in, a streamed table out."""
