//! Where is the center of the pattern?
