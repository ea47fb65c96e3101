"""Releases of reduced data from their authors."""
