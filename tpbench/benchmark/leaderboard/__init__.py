"""The leaderboard: finished runs of one task on one dataset in one table, as files to publish."""
