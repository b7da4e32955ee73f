"""Streams stems to clients: sessions, their messages, interleaving, codecs, open stem files."""
