//! Making a version the one that is in use, going back, and taking it away.
