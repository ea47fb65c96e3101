"""The web pages: what they show, any client can get from the public endpoints."""
