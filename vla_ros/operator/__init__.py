"""What a person does with a robot that runs: start, arm, speak to, stop and record it."""
