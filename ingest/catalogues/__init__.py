"""Catalogues: from a file of rows (FITS, VOTable, CSV, Parquet) to a table the archive can publish.

`reading.read_catalogue` is the way in; it needs Arrow, which the base install has not, so nothing is imported here.
Which files are catalogues at all is `kinds`; the DataProduct of the file itself is ingest.describe.catalogues; loading
rows into the database is the ingest service's.
"""
