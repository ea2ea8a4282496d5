"""The generation of one track: from the validated request to the stored file."""
