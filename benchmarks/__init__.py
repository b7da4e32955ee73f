"""The project's figures: what it promises, measured on a real server (`make bench`)."""
