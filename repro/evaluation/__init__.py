"""What a run measured, and what that says of the paper's claims and of earlier runs."""
