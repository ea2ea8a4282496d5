"""How the models learn: the job record, the subprocess that trains, the loop, and per backend its loss."""
