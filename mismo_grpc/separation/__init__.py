"""Models, segment grid, scheduler, devices, growing stem files."""
