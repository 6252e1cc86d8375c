"""What an instruction can mean, how people say it, and when it is done. Plain Python."""
