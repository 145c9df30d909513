"""What several experiments use; not experiments themselves."""
