"""Data for the harness: which clips there are, who is in them, and the faces cut out of them."""
