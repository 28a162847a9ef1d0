"""The tests, in the package's own order: tests/smtp for flask_smtp_admin/smtp, and so on."""
