"""VOResource records, OAI-PMH and the feed of changes."""
