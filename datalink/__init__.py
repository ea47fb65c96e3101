"""DataLink 1.1, and the files themselves."""
