"""The store's faces on the web: plain ASGI over one ObjectService, and who may do what through them."""
