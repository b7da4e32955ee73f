"""The measures behind the characteristics of a track, computed with numpy alone."""
