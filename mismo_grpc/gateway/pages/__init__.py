"""The pages for people: static files under a strict Content-Security-Policy."""
