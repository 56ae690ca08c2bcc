"""aiosmtpd's interfaces on our engine."""
