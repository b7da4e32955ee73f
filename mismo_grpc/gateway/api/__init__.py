"""The API of the Demucs web server: REST below /api, and live progress over Socket.IO."""
