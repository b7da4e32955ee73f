"""Cases that measure what browsers cost the server."""
