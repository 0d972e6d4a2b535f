"""What users compose: steps, and the patterns made of them. Each pattern file says what to fan and how to fold."""
