"""Calls of the gRPC methods over WebSockets, for browsers."""
