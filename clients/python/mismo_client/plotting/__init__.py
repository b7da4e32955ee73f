"""Pictures of analysed tracks. Needs numpy, matplotlib, and soundfile or av."""
