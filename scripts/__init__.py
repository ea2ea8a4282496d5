"""Programs around the service that are no part of it."""
