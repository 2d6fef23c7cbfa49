"""What the console costs, and how old its pictures are when they are drawn."""
