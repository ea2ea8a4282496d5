"""ACE-Step's own HTTP API under `/acestep`, for clients that speak it: it is translated to the service's requests."""
