//! What holds for any policies and any requests.
