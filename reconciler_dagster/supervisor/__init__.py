"""`reconciler up`: one process that starts the whole system on loopback and takes it down again."""
