"""What the papers' tables say: one CSV file a table, every row of it, as printed; and which of our settings a row stands for."""
