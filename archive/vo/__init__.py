"""The VO's grammar: columns, regions, DALI, VOTable, VOSI. Knows nothing of this archive."""
