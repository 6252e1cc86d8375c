"""ACT, Action Chunking with Transformers (Zhao et al., 2023), as LeRobot writes its checkpoints."""
