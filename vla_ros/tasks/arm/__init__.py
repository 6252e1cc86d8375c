"""What a person asks of an arm at a table: the words, their meaning, and when it is done."""
