"""Audio in and out: what a file is, its samples as float32, and samples as PCM, WAV and FLAC."""
