"""Maximum-entropy reinforcement learning on language models."""
