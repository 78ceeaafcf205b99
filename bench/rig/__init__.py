"""The bench's rig: fixtures, a stage without other traffic, peers, rows, and the table that comes out."""
