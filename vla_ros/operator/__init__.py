"""What a person does with a running robot: starts it, arms it, speaks to it, stops it, records
it."""
