"""What is done, leased and failed, and who does it: the ledger and the executors."""
