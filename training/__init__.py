"""Training of adapters: job records, the process of a job, the training loop, and a trainer for each backend."""
