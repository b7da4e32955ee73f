"""What the commands about analyses do: ask, wait, show, write."""
