"""UWS 1.1, once for all rooms."""
