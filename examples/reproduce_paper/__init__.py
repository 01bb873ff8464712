"""The experiment of Beckmann, Hilsmann and Eisert (2023), on one's own clips."""
