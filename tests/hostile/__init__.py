"""Strings that would like to act, put into everything that comes from outside, and the bytes that come out of it."""
