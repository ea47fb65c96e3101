"""What the archive has: products, files, published tables, the feed of events."""
