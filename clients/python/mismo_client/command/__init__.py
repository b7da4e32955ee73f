"""The command `mismo`: what a person types, over the client beside it."""
