"""The run: from a checked Program to a Plan, and from a Plan to events in the journal."""
