"""Music with a known tempo, key, beats, chords and sections, and how well analyses find them."""
