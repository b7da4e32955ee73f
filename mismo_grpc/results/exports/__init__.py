"""The finished stems of a run in other formats: which there can be, how they are made, and by whom."""
