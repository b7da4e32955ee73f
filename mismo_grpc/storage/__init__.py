"""Files on disk: free space, durable writes, the disk reserve, and the paths of a run's files."""
