"""The page: a leaderboard as one HTML file, with its videos beside it."""
