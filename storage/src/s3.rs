//! S3 and its relatives.
