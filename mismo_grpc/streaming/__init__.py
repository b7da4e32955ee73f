"""Stems going out: sessions, their messages, interleaving, codecs, open stem files."""
