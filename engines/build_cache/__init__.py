"""What runtimes built from networks, kept on this host: built once by many processes, checked at every load."""
