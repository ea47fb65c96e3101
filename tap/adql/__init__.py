"""ADQL 2.1: text to tree to SQL. Pure: no HTTP, no database; could be lifted out whole."""
