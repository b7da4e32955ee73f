"""Cases that measure the exports of finished stems."""
