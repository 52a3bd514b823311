"""Foreign files: what users upload, read by their content and made into the service's archives."""
