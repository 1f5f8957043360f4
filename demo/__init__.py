"""The real stack on loopback, from wheels. Not part of the distribution; the tests use it too."""
