-- Which member of a shared queue sends a notice; 0 in an embedded store, which has one process.
ALTER TABLE outbox ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
