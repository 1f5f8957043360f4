"""What dumping and restoring PostgreSQL share: logging in, finding its programs, explaining what it says."""
