"""scripts/mutants: small changes to perfkit, one at a time, and the tests that do not notice."""
