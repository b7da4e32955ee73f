"""Music made from nothing: a composer of songs and the voices that play them."""
