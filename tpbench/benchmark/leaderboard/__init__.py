"""The leaderboard: finished runs of one task on one dataset, side by side, as files to publish."""
