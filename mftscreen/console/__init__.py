"""What people see in a terminal: rows in, text and progress bars out."""
