"""Settings, errors, logs, metrics, traces, the principal and other basics: imports no other package of the service."""
