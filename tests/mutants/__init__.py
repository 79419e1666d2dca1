"""Mutation testing: one token of the engine is changed, and the tests have to turn red."""
