"""Reading tables that others wrote: FITS, delimited text, Parquet, Arrow; and what a user uploads, VOTables included.

A reader gives a `source.SourceTable`: columns as the file names and types them, rows in chunks. What becomes of them is
the rooms' business: a catalogue to publish (ingest.catalogues), a table of TAP_UPLOAD (`uploaded`, tap.upload).
"""
