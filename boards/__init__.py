"""Board data files (pins, chips, rails, band) and, in virtual/, the board without hardware."""
